"""Personal data rests only as long as a resend may need it, and encrypted (Contract 6.4)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor, wait
from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet, MultiFernet
from sqlalchemy import update

from tests.integration.log.setup import LEASE, ZAPIER, Setup, delivered, failed, lead
from zbl_provider.leads.payload import webhook_id
from zbl_provider.log.model import Enrolment, Status
from zbl_provider.log.outbox import enrol, runs
from zbl_provider.log.storage import tables
from zbl_provider.log.storage.cipher import excerpt_place
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
        return Setup(opened[-1])

    yield open_log
    for setup in opened:
        setup.close()


def test_payloads_rest_encrypted(with_key):
    """With a Fernet key the log holds no readable payload, and no answer that echoes it."""
    setup = with_key(OLD)
    run = setup.run()
    setup.enrol(run, lead("a", body=b"john@company.com"))
    echo = replace(delivered(), excerpt="you sent john@company.com")
    [claimed] = setup.claim(run)
    assert claimed.body == b"john@company.com"
    setup.settle(run, [claimed], echo)
    resting = repr(setup.rows()) + repr(setup.rows(tables.attempt))
    assert "john" not in resting
    [attempt] = setup.rows(tables.attempt)
    place = excerpt_place(claimed.webhook_id, attempt.resend, attempt.number)
    assert setup.log._seal.open(attempt.excerpt, place) == b"you sent john@company.com"


def test_payloads_survive_a_key_rotation(with_key):
    """A lead enrolled under the old key is sent under the rotated ones."""
    setup = with_key(OLD)
    setup.enrol(setup.run(), lead("a"))
    rotated = with_key(MultiFernet([NEW, OLD]))
    [claimed] = rotated.claim(rotated.run())
    assert claimed.body == b"a f1"


def test_a_payload_whose_key_is_lost_is_an_error(with_key):
    """One unreadable lead stops no other, says what to do, and can be resent after it is done."""
    setup = with_key(OLD)
    run = setup.run()
    setup.enrol(run, lead("a"))
    setup = with_key(NEW)
    setup.enrol(run, lead("b"))
    assert [lead.lead_id for lead in setup.claim(run)] == ["b"]
    row = setup.row("a")
    assert (row.status, row.attempts) == (Status.ERROR, 0)
    assert "another Fernet key" in row.reason
    setup = with_key(OLD)
    setup.log.reopen(run, 1, setup.now)
    assert [lead.body for lead in setup.claim(run)] == [b"a f1"]


def test_payloads_are_cleared_after_their_time(setup):
    """Payload and excerpts of a delivered lead go after the retention time, not before."""
    run = setup.run()
    setup.deliver(run, lead("a"))
    setup.later(days=30)
    assert setup.log.purge_payloads(setup.now, MONTH) == 0
    setup.later(days=1)
    assert setup.log.purge_payloads(setup.now, MONTH) == 1
    assert setup.row("a").payload is None
    assert [attempt.excerpt for attempt in setup.rows(tables.attempt)] == [None]
    assert setup.log.purge_payloads(setup.now, MONTH) == 0


def test_what_was_purged_is_still_delivered(setup):
    """Purging old rows never makes a delivered lead go out again."""
    setup.deliver(setup.run("first"), lead("a"))
    setup.later(days=31)
    setup.log.purge_payloads(setup.now, MONTH)
    second = setup.run("second")
    assert setup.enrol(second, lead("a")) == Enrolment(skipped=1)
    assert setup.claim(second) == []


def test_what_may_still_be_sent_is_not_purged(setup):
    """Leads that wait, failed or were reopened keep their payload however old they are."""
    run = setup.run()
    setup.fail(run, lead("failed"))
    setup.deliver(run, lead("delivered"))
    setup.log.reopen(run, 1, setup.now, everything=True)
    setup.enrol(run, lead("waits"))
    setup.later(days=365)
    assert setup.log.purge_payloads(setup.now, MONTH) == 0


def test_purging_takes_no_more_than_it_is_asked_for(setup):
    """A log that was never purged is purged in bounded steps, the oldest first."""
    run = setup.run()
    for n in range(5):
        setup.deliver(run, lead(f"{n}"))
        setup.later(minutes=1)
    setup.later(days=31)
    assert setup.log.purge_payloads(setup.now, MONTH, limit=2) == 2
    assert [row.lead_id for row in setup.rows() if row.payload is None] == ["0", "1"]
    assert setup.log.purge_payloads(setup.now, MONTH, limit=9) == 3


YEAR = timedelta(days=365)


def purged(setup):
    return {row.webhook_id for row in setup.rows(tables.purged)}


def test_rows_are_deleted_after_their_time(setup):
    """What was settled long ago goes, with its attempts and its run; what came later stays."""
    setup.deliver(setup.run("first"), lead("a"))
    setup.fail(setup.run("first"), lead("b"))
    setup.enrol(setup.run("first"), lead("c", status=Status.FILTERED, reason="score"))
    setup.later(days=364)
    assert setup.log.purge_rows(setup.now, YEAR) == 0
    setup.deliver(setup.run("second"), lead("d"))
    setup.later(days=2)
    assert setup.log.purge_rows(setup.now, YEAR) == 3
    assert [row.lead_id for row in setup.rows()] == ["d"]
    assert len(setup.rows(tables.attempt)) == 1
    assert [row.run_id for row in setup.rows(tables.run)] == ["second"]
    assert purged(setup) == {"msg_a"}
    assert setup.log.purge_rows(setup.now, YEAR) == 0


def test_a_delivered_lead_whose_row_is_gone_is_not_sent_again(setup):
    """Purging old rows never makes a delivered lead go out again, but to order (6.4, 4.4)."""
    setup.deliver(setup.run("first"), lead("a"), lead("b"))
    setup.later(days=366)
    setup.log.purge_rows(setup.now, YEAR)
    second = setup.run("second")
    assert setup.enrol(second, lead("a"), lead("new")) == Enrolment(new=1, skipped=1)
    assert [lead.lead_id for lead in setup.claim(second)] == ["new"]
    third = setup.run("third")
    assert setup.enrol(third, lead("b"), resend_delivered=True) == Enrolment(new=1)
    assert [lead.lead_id for lead in setup.claim(third)] == ["b"]


def test_a_lead_that_failed_after_it_was_delivered_counts_as_delivered(setup):
    """A resend that went wrong does not undo the delivery before it (Contract 6.4)."""
    run = setup.run()
    setup.deliver(run, lead("a"))
    setup.log.reopen(run, 1, setup.now, everything=True)
    setup.settle(run, setup.claim(run), failed())
    setup.later(days=366)
    assert setup.log.purge_rows(setup.now, YEAR) == 1
    assert purged(setup) == {"msg_a"}


def test_an_erased_lead_stays_forgotten_when_its_row_is_old(setup):
    """What a person wanted erased is not taken in again, years later, nor to order (6.4, 4.4)."""
    run = setup.run()
    candidate = lead("a")
    candidate = replace(candidate, webhook_id=webhook_id(ZAPIER, "a"))
    setup.fail(run, candidate)
    assert setup.log.erase("a", setup.now).deliveries == 1
    setup.later(days=366)
    assert setup.log.purge_rows(setup.now, YEAR) == 1
    second = setup.run("second")
    assert setup.enrol(second, candidate) == Enrolment(skipped=1)
    assert setup.enrol(second, candidate, resend_delivered=True) == Enrolment(skipped=1)


def test_a_run_that_was_cleared_is_not_taken_for_an_old_one(setup):
    """A task cleared long afterwards still minds what it finds then (Contract 4.5, 4.7)."""
    setup.deliver(setup.run("first"), lead("a"))
    setup.later(days=366)
    setup.log.purge_rows(setup.now, YEAR)
    setup.enrol(setup.run("empty"))
    setup.later(days=366)
    cleared = setup.run("empty", epoch=1)
    setup.log.purge_rows(setup.now, YEAR)
    setup.enrol(cleared, lead("b"))
    assert setup.log.counts(setup.run("empty", epoch=1)) == {Status.PENDING: 1}


def test_a_lead_deleted_while_it_is_enrolled_is_enrolled_anew(setup, monkeypatch):
    """What is deleted between two looks of an enrolment is not lost to it (Contract 6.2)."""
    kept_back = lead("a", status=Status.FILTERED, reason="score")
    setup.enrol(setup.run("first"), kept_back)
    setup.later(days=366)
    present = enrol.present

    def then_deleted(connection, *given, **options):
        known = present(connection, *given, **options)
        if not options:
            retention.purge_rows(connection, setup.now - YEAR, 10)
        return known

    monkeypatch.setattr(enrol, "present", then_deleted)
    second = setup.run("second")
    assert setup.enrol(second, lead("a")) == Enrolment(new=1)
    assert [lead.lead_id for lead in setup.claim(second)] == ["a"]


def test_what_waits_is_never_deleted(setup):
    """Leads that are held, retried or in flight stay, however old they are (Contract 6.2)."""
    run = setup.run()
    setup.enrol(run, lead("retried"))
    setup.settle(run, setup.claim(run), failed(), due_at=setup.now)
    setup.enrol(run, lead("sending"))
    assert len(setup.claim(run, limit=1)) == 1
    setup.enrol(run, lead("held"))
    setup.later(days=9999)
    assert setup.log.purge_rows(setup.now, YEAR) == 0
    assert len(setup.rows()) == 3


def test_deleting_and_a_clear_never_wait_in_a_ring(setup):
    """A clear locks its run, then its leads: retention holds no lead while it wants a run (4.6)."""
    run = setup.run()
    setup.fail(run, lead("a"))
    setup.later(days=366)
    with ThreadPoolExecutor(1) as pool, setup.log._engine.connect() as clear:
        clear.execute(update(tables.run).values(epoch=1))
        purging = pool.submit(setup.log.purge_rows, setup.now, YEAR)
        wait([purging], timeout=1)  # SQLite has it wait for the clear
        runs.open_again(clear, [tables.delivery.c.run_id == run.id], setup.now)
        clear.commit()
        purging.result()


def test_what_waits_hides_nothing_from_being_deleted(setup):
    """An integration that is held for years does not make the log grow without end (6.4)."""
    run = setup.run()
    setup.enrol(run, lead("held 1"), lead("held 2"))
    setup.log.enrol(run, "make", [lead("a")], setup.now)
    claimed = setup.log.claim("make", 9, setup.now, LEASE, run=run)
    setup.settle(run, claimed, delivered())
    setup.later(days=366)
    assert setup.log.purge_rows(setup.now, YEAR, limit=2) == 1
    assert {row.lead_id for row in setup.rows()} == {"held 1", "held 2"}


def test_deleting_takes_the_oldest_rows_first(setup):
    """A step is bounded, and the next goes on where it ended."""
    for n in range(5):
        setup.deliver(setup.run(), lead(f"{n}"))
    setup.later(days=366)
    steps = [setup.log.purge_rows(setup.now, YEAR, limit=2) for _ in range(4)]
    assert steps == [2, 2, 1, 0]
    assert setup.rows(tables.attempt) == setup.rows(tables.run) == []
