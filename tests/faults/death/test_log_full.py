"""The disk under an SQLite log is full."""

from collections import Counter
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import event

from tests.support.receiver import Reply
from zbl_provider.exceptions import DeliveryLogUnavailable
from zbl_provider.log.model import Status

pytestmark = pytest.mark.timeout(120)

LEADS = range(600)
ALL = {Status.DELIVERED: len(LEADS)}
MOMENT = timedelta(seconds=1)
WITHOUT_END = 1 << 30


class Disk:
    """The room that a setup's log has: as many pages as a test says."""

    def __init__(self, setup):
        self.limit = WITHOUT_END
        self._pages = lambda: setup.rows("PRAGMA page_count")[0][0]
        event.listen(setup.log._engine, "begin", self._apply)

    def _apply(self, connection):
        connection.exec_driver_sql(f"PRAGMA max_page_count = {self.limit}")

    def fill(self):
        self.limit = self._pages()

    def free(self):
        self.limit = WITHOUT_END


@pytest.fixture
def disk_of():
    return Disk


@contextmanager
def full_log(path):
    """Expect the error of a task that cannot go on without room."""
    with pytest.raises(DeliveryLogUnavailable, match="full") as problem:
        yield
    assert f"SQLite file {path}" in str(problem.value)


def test_what_cannot_be_enrolled_is_not_sent(setup_on, disk_of, tmp_path):
    """A full disk keeps leads from being sent unrecorded; with room the retry goes on (6.2)."""
    setup = setup_on(f"sqlite:///{tmp_path / 'log.db'}", MOMENT)
    disk = disk_of(setup)
    disk.fill()
    with full_log(tmp_path / "log.db"):
        setup.dispatch("run 1", LEADS)
    enrolled = {lead for (lead,) in setup.rows("SELECT lead_id FROM zbl_delivery")}
    assert set(setup.sent) <= enrolled
    assert len(enrolled) < len(LEADS)
    disk.free()
    setup.clock.now += timedelta(minutes=2)
    assert setup.dispatch_to_the_end("run 1", LEADS).counts == ALL
    assert max(Counter(setup.sent).values()) == 1


def test_a_disk_that_is_full_for_a_moment_sends_nothing_twice(setup_on, disk_of, tmp_path, caplog):
    """Outcomes that find no room wait for it; nothing is sent meanwhile (Contract 6.2)."""
    setup = setup_on(f"sqlite:///{tmp_path / 'log.db'}")
    setup.extra = {"max_concurrency": 4}
    disk = disk_of(setup)
    sent = []

    def answer(_):
        if not sent:
            disk.fill()
        sent.append(None)
        return Reply(after=0.01)

    setup.answer(answer)
    wait = setup.log._retry._ended.wait
    waits = []

    def waiting(seconds):
        waits.append(len(setup.sent))
        if len(waits) == 6:
            disk.free()
        return wait(seconds)

    setup.log._retry._ended.wait = waiting
    assert setup.dispatch_to_the_end("run 1", LEADS).counts == ALL
    assert max(Counter(setup.sent).values()) == 1
    assert "cannot be used at the moment: database or disk is full" in caplog.text
    assert waits[-1] - waits[1] <= 4, "only what was in flight was still answered"
    assert waits[-1] < len(LEADS) - 50, "there was more to send"


def test_a_disk_that_stays_full_sends_again_only_what_was_in_hand(setup_on, disk_of, tmp_path):
    """After a bounded wait the task fails, and says which log; no lead is lost (3.2, 6.2)."""
    setup = setup_on(f"sqlite:///{tmp_path / 'log.db'}", MOMENT)
    setup.extra = {"active": False}
    setup.dispatch("run 1", LEADS)
    setup.extra = {"max_concurrency": 4}
    disk = disk_of(setup)
    disk.fill()
    with full_log(tmp_path / "log.db"):
        setup.dispatch("run 1")
    settled = {
        lead for (lead,) in setup.rows("SELECT lead_id FROM zbl_delivery WHERE attempts > 0")
    }
    in_hand = set(setup.sent) - settled
    assert len(setup.sent) < len(LEADS)
    disk.free()
    setup.clock.now += timedelta(minutes=2)
    assert setup.dispatch_to_the_end("run 1").counts == ALL
    assert {lead for lead, times in Counter(setup.sent).items() if times > 1} == in_hand
    assert len(setup.rows("SELECT id FROM zbl_attempt")) == len(LEADS)
