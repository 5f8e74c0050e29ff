"""Who may send a lead: claims, leases, and the fence around both."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import text

from tests.integration.log.bench import NOON, ZAPIER, delivered, failed, lead
from zbl_provider.log.model import Candidate, Status
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog


def test_a_claimed_lead_is_what_was_enrolled(bench):
    """A claim gives the exact bytes enrolled under their webhook-id, as attempt 1 (2.3)."""
    run = bench.run()
    bench.enrol(run, lead("a", body=b"\x00 exactly \xff"))
    [claimed] = bench.claim(run)
    assert (claimed.webhook_id, claimed.lead_id) == ("msg_a", "a")
    assert (claimed.body, claimed.attempt) == (b"\x00 exactly \xff", 1)
    assert claimed.lease_until == NOON + timedelta(seconds=60)


def test_a_claimed_lead_is_not_claimed_again(bench):
    """While its lease runs a lead is one worker's alone (Contract 4.6)."""
    run = bench.run()
    bench.enrol(run, lead("a"))
    assert len(bench.claim(run)) == 1
    bench.later(seconds=59)
    assert bench.claim(run) == []


def test_an_expired_lease_costs_no_attempt(bench):
    """A lead whose worker is lost is claimed again under the same attempt number (Contract 3.2)."""
    run = bench.run()
    bench.enrol(run, lead("a"))
    [lost] = bench.claim(run)
    bench.later(seconds=60)
    [again] = bench.claim(run)
    assert (again.attempt, again.webhook_id) == (lost.attempt, lost.webhook_id)
    assert again.claim != lost.claim


def test_a_stale_claim_cannot_settle(bench):
    """A worker that lost its lease to another writes nothing, and no attempt (Contract 6.2)."""
    run = bench.run()
    bench.enrol(run, lead("a"))
    [lost] = bench.claim(run)
    bench.later(seconds=60)
    [held] = bench.claim(run)
    [fenced] = bench.settle(run, [lost], failed())
    assert fenced.claimed is lost
    assert bench.row("a").status == Status.SENDING
    assert bench.rows(tables.attempt) == []
    assert bench.settle(run, [held], delivered()) == []
    [attempt] = bench.rows(tables.attempt)
    assert (attempt.number, attempt.status_code) == (1, 200)


def test_a_late_worker_settles_when_nobody_else_has_claimed(bench):
    """A lease that ran out unnoticed loses no outcome: the lead is not sent a second time."""
    run = bench.run()
    bench.enrol(run, lead("a"))
    claimed = bench.claim(run)
    bench.later(minutes=5)
    assert bench.settle(run, claimed, delivered()) == []
    assert bench.claim(run) == []


def test_a_claim_settles_once(bench):
    """Two settlements of one claim, at once or one after the other, are one attempt."""
    run = bench.run()
    bench.enrol(run, lead("a"))
    [claimed] = bench.claim(run)
    assert len(bench.settle(run, [claimed, claimed], delivered())) == 1
    assert len(bench.settle(run, [claimed], failed())) == 1
    assert len(bench.rows(tables.attempt)) == 1
    assert bench.row("a").status == Status.DELIVERED


def test_settling_writes_down_all_that_happened(bench):
    """An attempt keeps number, start, duration, status or kind, and its run (Contract 6.3)."""
    run = bench.run()
    bench.enrol(run, lead("a"))
    bench.settle(run, bench.claim(run), failed(), bench.now + timedelta(seconds=60))
    row = bench.row("a")
    assert (row.status, row.attempts, row.claim) == (Status.RETRYING, 1, None)
    assert (row.reason, row.last_kind, row.last_status) == ("no answer in 10 s", "timeout", None)
    bench.later(seconds=60)
    bench.settle(run, bench.claim(run), delivered(seconds=0.25))
    row = bench.row("a")
    assert (row.status, row.attempts, row.due_at, row.claim) == (Status.DELIVERED, 2, None, None)
    assert (row.reason, row.last_kind, row.last_status) == (None, None, 200)
    assert row.delivered_at == bench.now + timedelta(seconds=0.25)
    first, second = bench.rows(tables.attempt)
    assert (first.number, first.kind, first.duration_ms) == (1, "timeout", 10_000)
    assert (first.started_at, first.run_id, first.excerpt) == (NOON, run.id, None)
    assert (second.number, second.status_code, second.duration_ms) == (2, 200, 250)


def test_the_next_attempt_waits_for_its_time(bench):
    """A lead to be retried is not claimed before it is due, and has the next number then (3.1)."""
    run = bench.run()
    bench.enrol(run, lead("a"))
    bench.settle(run, bench.claim(run), failed(), bench.now + timedelta(seconds=60))
    bench.later(seconds=59)
    assert bench.claim(run) == []
    bench.later(seconds=1)
    [claimed] = bench.claim(run)
    assert claimed.attempt == 2


def test_the_last_failure_is_an_error(bench):
    """A failed attempt without another to come leaves the lead in error (Contract 3.2)."""
    run = bench.run()
    bench.fail(run, lead("a"))
    row = bench.row("a")
    assert (row.status, row.reason, row.due_at) == (Status.ERROR, "no answer in 10 s", None)


def test_released_leads_are_as_they_were(bench):
    """What was claimed and not sent is due at once, with no attempt counted."""
    run = bench.run()
    bench.enrol(run, lead("new"), lead("tried"))
    new, tried = bench.claim(run)
    bench.settle(run, [tried], failed(), bench.now)
    [tried] = bench.claim(run)
    bench.log.release([tried, new], bench.now)
    assert bench.row("new").status == Status.PENDING
    assert bench.row("tried").status == Status.RETRYING
    assert [(one.lead_id, one.attempt) for one in bench.claim(run)] == [("new", 1), ("tried", 2)]


def test_a_stale_claim_cannot_release(bench):
    """A worker that lost its lease cannot take the lead from the one who has it now."""
    run = bench.run()
    bench.enrol(run, lead("a"))
    lost = bench.claim(run)
    bench.later(seconds=60)
    held = bench.claim(run)
    bench.log.release(lost, bench.now)
    assert bench.claim(run) == []
    assert bench.settle(run, held, delivered()) == []


def test_the_longest_due_go_first(bench):
    """A limited claim takes the leads that have waited longest."""
    run = bench.run()
    bench.enrol(run, lead("late"), lead("early"))
    bench.settle(run, bench.claim(run, 1), failed(), bench.now + timedelta(seconds=5))
    bench.settle(run, bench.claim(run, 1), failed(), bench.now + timedelta(seconds=3))
    bench.later(seconds=9)
    assert [one.lead_id for one in bench.claim(run, 1)] == ["early"]
    assert [one.lead_id for one in bench.claim(run, 1)] == ["late"]


def test_an_integration_claims_its_own_leads(bench):
    """What one integration owes another never sends."""
    run = bench.run()
    bench.enrol(run, lead("a"))
    assert bench.log.claim("make", 10, bench.now, timedelta(60), run=run) == []


def test_a_run_drains_what_others_left(bench):
    """Leads left by a run that died go out with the next one, which then owns them (4.6)."""
    dead, alive = bench.run("dead"), bench.run("alive")
    bench.enrol(dead, lead("a"))
    assert bench.claim(alive, only_own=True) == []
    assert len(bench.claim(alive)) == 1
    assert bench.log.counts(alive) == bench.log.counts(dead) == {Status.SENDING: 1}
    bench.later(seconds=60)
    assert len(bench.claim(alive, only_own=True)) == 1


def test_a_due_lead_without_payload_is_an_error(bench):
    """A lead that cannot be sent any more is not left due for ever."""
    run = bench.run()
    bench.enrol(run, lead("a"), lead("b"))
    with bench.log._engine.begin() as connection:
        connection.execute(text("UPDATE zbl_delivery SET payload = NULL WHERE lead_id = 'a'"))
    assert [one.lead_id for one in bench.claim(run)] == ["b"]
    row = bench.row("a")
    assert (row.status, row.claim, row.due_at) == (Status.ERROR, None, None)
    assert "cleared" in row.reason


def test_two_workers_never_get_the_same_lead(bench, log_url):
    """However many workers claim at once, every lead is given out once (Contract 4.6)."""
    run = bench.run()
    bench.enrol(run, *(lead(f"{n:03}") for n in range(400)))
    start = threading.Barrier(4)

    def work(_: int) -> list[str]:
        log = DeliveryLog(log_url)
        start.wait()
        got = []
        while claimed := log.claim(ZAPIER, 7, bench.now, timedelta(60), run=run):
            got += [one.lead_id for one in claimed]
        log.close()
        return got

    with ThreadPoolExecutor(4) as pool:
        given = [lead_id for got in pool.map(work, range(4)) for lead_id in got]
    # PostgreSQL's SKIP LOCKED may tell a worker "none left" while another still holds its rows.
    given += [one.lead_id for one in bench.claim(run, 400)]
    assert sorted(given) == [f"{n:03}" for n in range(400)]


def test_enrolling_the_same_leads_at_once_takes_each_once(bench, log_url):
    """Runs that find the same new leads, in any order, neither fail nor enrol one twice (4.4)."""
    leads = [lead(f"{n:03}") for n in range(300)]
    runs = [bench.run(f"run {n}") for n in range(4)]
    start = threading.Barrier(4)

    def work(n: int) -> int:
        log = DeliveryLog(log_url)
        start.wait()
        new = 0
        found: list[Candidate] = leads[::-1] if n % 2 else leads
        for at in range(0, 300, 50):
            new += log.enrol(runs[n], ZAPIER, found[at : at + 50], bench.now).new
        log.close()
        return new

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 300
    assert len(bench.rows()) == 300
    assert all(bench.log.counts(run) == {Status.PENDING: 300} for run in runs)
