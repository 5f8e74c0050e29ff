"""Personal data rests only as long as a resend may need it, and encrypted (Contract 6.4)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet, MultiFernet
from sqlalchemy import update

from tests.integration.log.bench import LEASE, ZAPIER, Bench, delivered, failed, lead
from zbl_provider.leads.payload import webhook_id
from zbl_provider.log.model import Enrolment, Status
from zbl_provider.log.outbox import runs
from zbl_provider.log.outbox.enrol import Enroller
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog
from zbl_provider.log.upkeep import retention

MONTH = timedelta(days=30)
OLD, NEW = (Fernet(Fernet.generate_key()) for _ in range(2))


@pytest.fixture
def with_key(log, log_url):
    """Open the test's log once more, with a cipher."""
    opened = []

    def open_log(cipher):
        opened.append(DeliveryLog(log_url, cipher=cipher))
        return Bench(opened[-1])

    yield open_log
    for one in opened:
        one.close()


def test_payloads_rest_encrypted(with_key):
    """With a Fernet key the log holds no readable payload, and no answer that echoes it."""
    bench = with_key(OLD)
    run = bench.run()
    bench.enrol(run, lead("a", body=b"john@company.com"))
    echo = replace(delivered(), excerpt="you sent john@company.com")
    [claimed] = bench.claim(run)
    assert claimed.body == b"john@company.com"
    bench.settle(run, [claimed], echo)
    resting = repr(bench.rows()) + repr(bench.rows(tables.attempt))
    assert "john" not in resting
    [attempt] = bench.rows(tables.attempt)
    assert bench.log._seal.open(attempt.excerpt) == b"you sent john@company.com"


def test_payloads_survive_a_key_rotation(with_key):
    """A lead enrolled under the old key is sent under the rotated ones."""
    bench = with_key(OLD)
    bench.enrol(bench.run(), lead("a"))
    rotated = with_key(MultiFernet([NEW, OLD]))
    [claimed] = rotated.claim(rotated.run())
    assert claimed.body == b"a f1"


def test_a_payload_whose_key_is_lost_is_an_error(with_key):
    """One unreadable lead stops no other, says what to do, and can be resent after it is done."""
    bench = with_key(OLD)
    run = bench.run()
    bench.enrol(run, lead("a"))
    bench = with_key(NEW)
    bench.enrol(run, lead("b"))
    assert [one.lead_id for one in bench.claim(run)] == ["b"]
    row = bench.row("a")
    assert (row.status, row.attempts) == (Status.ERROR, 0)
    assert "another Fernet key" in row.reason
    bench = with_key(OLD)
    bench.log.reopen(run, 1, bench.now)
    assert [one.body for one in bench.claim(run)] == [b"a f1"]


def test_payloads_are_cleared_after_their_time(bench):
    """Payload and excerpts of a delivered lead go after the retention time, not before."""
    run = bench.run()
    bench.deliver(run, lead("a"))
    bench.later(days=30)
    assert bench.log.purge_payloads(bench.now, MONTH) == 0
    bench.later(days=1)
    assert bench.log.purge_payloads(bench.now, MONTH) == 1
    assert bench.row("a").payload is None
    assert [attempt.excerpt for attempt in bench.rows(tables.attempt)] == [None]
    assert bench.log.purge_payloads(bench.now, MONTH) == 0


def test_what_was_purged_is_still_delivered(bench):
    """Purging old rows never makes a delivered lead go out again."""
    bench.deliver(bench.run("first"), lead("a"))
    bench.later(days=31)
    bench.log.purge_payloads(bench.now, MONTH)
    second = bench.run("second")
    assert bench.enrol(second, lead("a")) == Enrolment(skipped=1)
    assert bench.claim(second) == []


def test_what_may_still_be_sent_is_not_purged(bench):
    """Leads that wait, failed or were reopened keep their payload however old they are."""
    run = bench.run()
    bench.fail(run, lead("failed"))
    bench.deliver(run, lead("delivered"))
    bench.log.reopen(run, 1, bench.now, everything=True)
    bench.enrol(run, lead("waits"))
    bench.later(days=365)
    assert bench.log.purge_payloads(bench.now, MONTH) == 0


def test_purging_takes_no_more_than_it_is_asked_for(bench):
    """A log that was never purged is purged in bounded steps, the oldest first."""
    run = bench.run()
    for number in range(5):
        bench.deliver(run, lead(f"{number}"))
        bench.later(minutes=1)
    bench.later(days=31)
    assert bench.log.purge_payloads(bench.now, MONTH, limit=2) == 2
    assert [row.lead_id for row in bench.rows() if row.payload is None] == ["0", "1"]
    assert bench.log.purge_payloads(bench.now, MONTH, limit=9) == 3


YEAR = timedelta(days=365)


def purged(bench):
    return {row.webhook_id for row in bench.rows(tables.purged)}


def test_rows_are_deleted_after_their_time(bench):
    """What was settled long ago goes, with its attempts and its run; what came later stays."""
    bench.deliver(bench.run("first"), lead("a"))
    bench.fail(bench.run("first"), lead("b"))
    bench.enrol(bench.run("first"), lead("c", status=Status.FILTERED, reason="score"))
    bench.later(days=364)
    assert bench.log.purge_rows(bench.now, YEAR) == 0
    bench.deliver(bench.run("second"), lead("d"))
    bench.later(days=2)
    assert bench.log.purge_rows(bench.now, YEAR) == 3
    assert [row.lead_id for row in bench.rows()] == ["d"]
    assert len(bench.rows(tables.attempt)) == 1
    assert [row.run_id for row in bench.rows(tables.run)] == ["second"]
    assert purged(bench) == {"msg_a"}
    assert bench.log.purge_rows(bench.now, YEAR) == 0


def test_a_delivered_lead_whose_row_is_gone_is_not_sent_again(bench):
    """Purging old rows never makes a delivered lead go out again, but to order (6.4, 4.4)."""
    bench.deliver(bench.run("first"), lead("a"), lead("b"))
    bench.later(days=366)
    bench.log.purge_rows(bench.now, YEAR)
    second = bench.run("second")
    assert bench.enrol(second, lead("a"), lead("new")) == Enrolment(new=1, skipped=1)
    assert [one.lead_id for one in bench.claim(second)] == ["new"]
    third = bench.run("third")
    assert bench.enrol(third, lead("b"), resend_delivered=True) == Enrolment(new=1)
    assert [one.lead_id for one in bench.claim(third)] == ["b"]


def test_a_lead_that_failed_after_it_was_delivered_counts_as_delivered(bench):
    """A resend that went wrong does not undo the delivery before it (Contract 6.4)."""
    run = bench.run()
    bench.deliver(run, lead("a"))
    bench.log.reopen(run, 1, bench.now, everything=True)
    bench.settle(run, bench.claim(run), failed())
    bench.later(days=366)
    assert bench.log.purge_rows(bench.now, YEAR) == 1
    assert purged(bench) == {"msg_a"}


def test_an_erased_lead_stays_forgotten_when_its_row_is_old(bench):
    """What a person wanted erased is not taken in again, years later, nor to order (6.4, 4.4)."""
    run = bench.run()
    candidate = lead("a")
    candidate = replace(candidate, webhook_id=webhook_id(ZAPIER, "a"))
    bench.fail(run, candidate)
    assert bench.log.erase("a", bench.now).deliveries == 1
    bench.later(days=366)
    assert bench.log.purge_rows(bench.now, YEAR) == 1
    second = bench.run("second")
    assert bench.enrol(second, candidate) == Enrolment(skipped=1)
    assert bench.enrol(second, candidate, resend_delivered=True) == Enrolment(skipped=1)


def test_a_run_that_was_cleared_is_not_taken_for_an_old_one(bench):
    """A task cleared long afterwards still minds what it finds then (Contract 4.5, 4.7)."""
    bench.deliver(bench.run("first"), lead("a"))
    bench.later(days=366)
    bench.log.purge_rows(bench.now, YEAR)
    bench.enrol(bench.run("empty"))
    bench.later(days=366)
    cleared = bench.run("empty", epoch=1)
    bench.log.purge_rows(bench.now, YEAR)
    bench.enrol(cleared, lead("b"))
    assert bench.log.counts(bench.run("empty", epoch=1)) == {Status.PENDING: 1}


def test_a_lead_deleted_while_it_is_enrolled_is_enrolled_anew(bench, monkeypatch):
    """What is deleted between two looks of an enrolment is not lost to it (Contract 6.2)."""
    kept_back = lead("a", status=Status.FILTERED, reason="score")
    bench.enrol(bench.run("first"), kept_back)
    bench.later(days=366)
    known = Enroller._known

    def then_deleted(self, keys, **options):
        found = known(self, keys, **options)
        if not options:
            retention.purge_rows(self._connection, bench.now - YEAR, 10)
        return found

    monkeypatch.setattr(Enroller, "_known", then_deleted)
    second = bench.run("second")
    assert bench.enrol(second, lead("a")) == Enrolment(new=1)
    assert [one.lead_id for one in bench.claim(second)] == ["a"]


def test_what_waits_is_never_deleted(bench):
    """Leads that are held, retried or in flight stay, however old they are (Contract 6.2)."""
    run = bench.run()
    bench.enrol(run, lead("retried"))
    bench.settle(run, bench.claim(run), failed(), due_at=bench.now)
    bench.enrol(run, lead("sending"))
    assert len(bench.claim(run, limit=1)) == 1
    bench.enrol(run, lead("held"))
    bench.later(days=9999)
    assert bench.log.purge_rows(bench.now, YEAR) == 0
    assert len(bench.rows()) == 3


def test_deleting_and_a_clear_never_wait_in_a_ring(bench):
    """A clear locks its run, then its leads: retention holds no lead while it wants a run (4.6)."""
    run = bench.run()
    bench.fail(run, lead("a"))
    bench.later(days=366)
    with ThreadPoolExecutor(1) as pool, bench.log._engine.connect() as clear:
        clear.execute(update(tables.run).values(epoch=1))
        purging = pool.submit(bench.log.purge_rows, bench.now, YEAR)
        wait([purging], timeout=1)  # SQLite has it wait for the clear
        runs.open_again(clear, [tables.delivery.c.run_id == run.id], bench.now)
        clear.commit()
        purging.result()


def test_what_waits_hides_nothing_from_being_deleted(bench):
    """An integration that is held for years does not make the log grow without end (6.4)."""
    run = bench.run()
    bench.enrol(run, lead("held 1"), lead("held 2"))
    bench.log.enrol(run, "make", [lead("a")], bench.now)
    claimed = bench.log.claim("make", 9, bench.now, LEASE, run=run)
    bench.settle(run, claimed, delivered())
    bench.later(days=366)
    assert bench.log.purge_rows(bench.now, YEAR, limit=2) == 1
    assert {row.lead_id for row in bench.rows()} == {"held 1", "held 2"}


def test_deleting_takes_the_oldest_rows_first(bench):
    """A step is bounded, and the next goes on where it ended."""
    for number in range(5):
        bench.deliver(bench.run(), lead(f"{number}"))
    bench.later(days=366)
    steps = [bench.log.purge_rows(bench.now, YEAR, limit=2) for _ in range(4)]
    assert steps == [2, 2, 1, 0]
    assert bench.rows(tables.attempt) == bench.rows(tables.run) == []
