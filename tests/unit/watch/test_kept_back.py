"""Which of the tasks that wait for an integration go on (Contract 1.2, 8.4 and 8.7)."""

from datetime import UTC, datetime, timedelta

from zbl_provider.log.model import Outage
from zbl_provider.watch.kept_back import KeptBackLook

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def look(next_at):
    outage = Outage(since=NOW, reason="HTTP 503", waiting=3, next_at=next_at, probe_at=None)
    return KeptBackLook(set(), {"zapier": outage}, set(), NOW)


def test_all_go_on_when_nothing_keeps_it_back():
    """What is neither held nor down keeps nobody (8.4, 8.7)."""
    seen = KeptBackLook({"zapier"}, {}, set(), NOW)
    assert [seen.ends_wait("zapier") for _ in range(3)] == [True] * 3


def test_all_wait_while_it_is_held():
    """Nor does a look that came too early to be asked for it let anybody go (1.2, 8.4)."""
    seen = KeptBackLook({"make"}, {}, set(), NOW)
    assert not any(seen.ends_wait("zapier") for _ in range(3))


def test_all_wait_while_a_tried_lead_is_to_come():
    """It may be some minutes late, as when workers are busy (8.7, 3.4)."""
    for minutes in (30, 0, -9):
        seen = look(NOW + timedelta(minutes=minutes))
        assert not any(seen.ends_wait("zapier") for _ in range(3)), minutes


def test_all_go_on_when_no_tried_lead_is_left():
    """Nothing could find out any more that it is back (8.7)."""
    seen = look(None)
    assert all(seen.ends_wait("zapier") for _ in range(3))


def test_who_has_a_tried_lead_goes_on_when_a_hold_is_over():
    """By its schedule, though it is down: it may be what ends that (8.7)."""
    assert look(NOW + timedelta(minutes=5)).ends_wait("zapier", is_tried=True)
    assert KeptBackLook({"zapier"}, {}, set(), NOW).ends_wait("zapier", is_tried=True)
    assert not KeptBackLook({"make"}, {}, set(), NOW).ends_wait("zapier", is_tried=True)


def test_one_sees_to_a_tried_lead_whose_task_does_not_come():
    """One a look, of however many that wait: it takes that lead along (4.11)."""
    seen = look(NOW - timedelta(minutes=10))
    assert [seen.ends_wait("zapier") for _ in range(3)] == [True, False, False]


def test_one_finds_out_why_a_connection_cannot_be_read():
    """One a look: it may be gone for good, or for a moment, in which none may go out (3.4)."""
    seen = KeptBackLook(set(), {}, {"zapier"}, NOW)
    assert [seen.ends_wait("zapier") for _ in range(3)] == [True, False, False]
