"""Personal data rests only as long as a resend may need it, and encrypted (Contract 6.4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet, MultiFernet

from tests.integration.log.bench import Bench, delivered, lead
from zbl_provider.log import tables
from zbl_provider.log.model import Enrolment, Status
from zbl_provider.log.store import DeliveryLog

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
