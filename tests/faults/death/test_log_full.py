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
    """The room that a bench's log has: as many pages as a test says."""

    def __init__(self, bench):
        self.limit = WITHOUT_END
        self._pages = lambda: bench.rows("PRAGMA page_count")[0][0]
        event.listen(bench.log._engine, "begin", self._apply)

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


def test_what_cannot_be_enrolled_is_not_sent(bench_on, disk_of, tmp_path):
    """A full disk keeps leads from being sent unrecorded; with room the retry goes on (6.2)."""
    bench = bench_on(f"sqlite:///{tmp_path / 'log.db'}", MOMENT)
    disk = disk_of(bench)
    disk.fill()
    with full_log(tmp_path / "log.db"):
        bench.dispatch("run 1", LEADS)
    enrolled = {lead for (lead,) in bench.rows("SELECT lead_id FROM zbl_delivery")}
    assert set(bench.sent) <= enrolled
    assert len(enrolled) < len(LEADS)
    disk.free()
    bench.clock.now += timedelta(minutes=2)
    assert bench.dispatch_to_the_end("run 1", LEADS).counts == ALL
    assert max(Counter(bench.sent).values()) == 1


def test_a_disk_that_is_full_for_a_moment_sends_nothing_twice(bench_on, disk_of, tmp_path, caplog):
    """Outcomes that find no room wait for it; nothing is sent meanwhile (Contract 6.2)."""
    bench = bench_on(f"sqlite:///{tmp_path / 'log.db'}")
    bench.extra = {"max_concurrency": 4}
    disk = disk_of(bench)
    sent = []

    def answer(_):
        if not sent:
            disk.fill()
        sent.append(None)
        return Reply(after=0.01)

    bench.answer(answer)
    wait = bench.log._retry._ended.wait
    waits = []

    def waiting(seconds):
        waits.append(len(bench.sent))
        if len(waits) == 6:
            disk.free()
        return wait(seconds)

    bench.log._retry._ended.wait = waiting
    assert bench.dispatch_to_the_end("run 1", LEADS).counts == ALL
    assert max(Counter(bench.sent).values()) == 1
    assert "cannot be used at the moment: database or disk is full" in caplog.text
    assert waits[-1] - waits[1] <= 4, "only what was in flight was still answered"
    assert waits[-1] < len(LEADS) - 50, "there was more to send"


def test_a_disk_that_stays_full_sends_again_only_what_was_in_hand(bench_on, disk_of, tmp_path):
    """After a bounded wait the task fails, and says which log; no lead is lost (3.2, 6.2)."""
    bench = bench_on(f"sqlite:///{tmp_path / 'log.db'}", MOMENT)
    bench.extra = {"active": False}
    bench.dispatch("run 1", LEADS)
    bench.extra = {"max_concurrency": 4}
    disk = disk_of(bench)
    disk.fill()
    with full_log(tmp_path / "log.db"):
        bench.dispatch("run 1")
    settled = {
        lead for (lead,) in bench.rows("SELECT lead_id FROM zbl_delivery WHERE attempts > 0")
    }
    in_hand = set(bench.sent) - settled
    assert len(bench.sent) < len(LEADS)
    disk.free()
    bench.clock.now += timedelta(minutes=2)
    assert bench.dispatch_to_the_end("run 1").counts == ALL
    assert {lead for lead, times in Counter(bench.sent).items() if times > 1} == in_hand
    assert len(bench.rows("SELECT id FROM zbl_attempt")) == len(LEADS)
