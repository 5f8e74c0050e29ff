"""Which of the tasks that wait for a destination go on (Contract 8.7)."""

from datetime import UTC, datetime, timedelta

from zbl_provider.log.model import Outage
from zbl_provider.watch.outages import OutageLook

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def look(next_at):
    outage = Outage(since=NOW, reason="HTTP 503", waiting=3, next_at=next_at, probe_at=None)
    return OutageLook({"zapier": outage}, NOW)


def test_all_go_on_when_it_is_back():
    """What is not down keeps nobody (8.7)."""
    assert [OutageLook({}, NOW).ends_wait("zapier") for _ in range(3)] == [True] * 3


def test_all_wait_while_a_tried_lead_is_to_come():
    """It may be some minutes late, as when workers are busy (8.7, 3.4)."""
    for minutes in (30, 0, -9):
        seen = look(NOW + timedelta(minutes=minutes))
        assert not any(seen.ends_wait("zapier") for _ in range(3)), minutes


def test_all_go_on_when_no_tried_lead_is_left():
    """Nothing could find out any more that it is back (8.7)."""
    seen = look(None)
    assert all(seen.ends_wait("zapier") for _ in range(3))


def test_one_sees_to_a_tried_lead_whose_task_does_not_come():
    """One a look, of however many that wait: it takes that lead along (4.11)."""
    seen = look(NOW - timedelta(minutes=10))
    assert [seen.ends_wait("zapier") for _ in range(3)] == [True, False, False]
