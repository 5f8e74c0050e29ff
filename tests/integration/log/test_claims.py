"""Who may send a lead: claims, leases, and the fence around both."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from sqlalchemy import text

from tests.integration.log.setup import NOON, ZAPIER, delivered, failed, lead
from zbl_provider.log.model import Candidate, Settlement, Status
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog


def test_a_claimed_lead_is_what_was_enrolled(setup):
    """A claim gives the exact bytes enrolled under their webhook-id, as attempt 1 (2.3)."""
    run = setup.run()
    setup.enrol(run, lead("a", body=b"\x00 exactly \xff"))
    [claimed] = setup.claim(run)
    assert (claimed.webhook_id, claimed.lead_id) == ("msg_a", "a")
    assert (claimed.body, claimed.attempt) == (b"\x00 exactly \xff", 1)
    assert claimed.lease_until == NOON + timedelta(seconds=60)


def test_a_claimed_lead_is_not_claimed_again(setup):
    """While its lease runs a lead is one worker's alone (Contract 4.6)."""
    run = setup.run()
    setup.enrol(run, lead("a"))
    assert len(setup.claim(run)) == 1
    setup.later(seconds=59)
    assert setup.claim(run) == []


def test_an_expired_lease_costs_no_attempt(setup):
    """A lead whose worker is lost is claimed again under the same attempt number (Contract 3.2)."""
    run = setup.run()
    setup.enrol(run, lead("a"))
    [lost] = setup.claim(run)
    setup.later(seconds=60)
    [again] = setup.claim(run)
    assert (again.attempt, again.webhook_id) == (lost.attempt, lost.webhook_id)
    assert again.claim != lost.claim


def test_a_stale_claim_cannot_settle(setup):
    """A worker that lost its lease to another writes nothing, and no attempt (Contract 6.2)."""
    run = setup.run()
    setup.enrol(run, lead("a"))
    [lost] = setup.claim(run)
    setup.later(seconds=60)
    [held] = setup.claim(run)
    [fenced] = setup.settle(run, [lost], failed())
    assert fenced.claimed is lost
    assert setup.row("a").status == Status.SENDING
    assert setup.rows(tables.attempt) == []
    assert setup.settle(run, [held], delivered()) == []
    [attempt] = setup.rows(tables.attempt)
    assert (attempt.number, attempt.status_code) == (1, 200)


def test_a_lost_claim_settles_nothing_beside_the_one_that_holds(setup):
    """In one group, too, what was lost is told and the other one counts (Contract 6.2)."""
    run = setup.run()
    setup.enrol(run, lead("a"), lead("b"))
    lost = setup.claim(run)
    setup.later(seconds=60)
    held = setup.claim(run)
    made = [Settlement(claimed, failed(), setup.now, None) for claimed in lost]
    made[1:1] = [Settlement(claimed, delivered(), setup.now, None) for claimed in held]
    late = setup.log.settle(made, run)
    assert [settlement.claimed for settlement in late] == lost
    assert [row.status for row in setup.rows()] == [Status.DELIVERED] * 2
    assert [attempt.status_code for attempt in setup.rows(tables.attempt)] == [200, 200]


def test_a_late_worker_settles_when_nobody_else_has_claimed(setup):
    """A lease that ran out unnoticed loses no outcome: the lead is not sent a second time."""
    run = setup.run()
    setup.enrol(run, lead("a"))
    claimed = setup.claim(run)
    setup.later(minutes=5)
    assert setup.settle(run, claimed, delivered()) == []
    assert setup.claim(run) == []


def test_a_claim_settles_once(setup):
    """Two settlements of one claim, at once or one after the other, are one attempt."""
    run = setup.run()
    setup.enrol(run, lead("a"))
    [claimed] = setup.claim(run)
    assert len(setup.settle(run, [claimed, claimed], delivered())) == 1
    assert len(setup.settle(run, [claimed], failed())) == 1
    assert len(setup.rows(tables.attempt)) == 1
    assert setup.row("a").status == Status.DELIVERED


def test_settling_writes_down_all_that_happened(setup):
    """An attempt keeps number, start, duration, status or kind, and its run (Contract 6.3)."""
    run = setup.run()
    setup.enrol(run, lead("a"))
    setup.settle(run, setup.claim(run), failed(), setup.now + timedelta(seconds=60))
    row = setup.row("a")
    assert (row.status, row.attempts, row.claim) == (Status.RETRYING, 1, None)
    assert (row.reason, row.last_kind, row.last_status) == ("no answer in 10 s", "timeout", None)
    setup.later(seconds=60)
    setup.settle(run, setup.claim(run), delivered(seconds=0.25))
    row = setup.row("a")
    assert (row.status, row.attempts, row.due_at, row.claim) == (Status.DELIVERED, 2, None, None)
    assert (row.reason, row.last_kind, row.last_status) == (None, None, 200)
    assert row.delivered_at == setup.now + timedelta(seconds=0.25)
    first, second = setup.rows(tables.attempt)
    assert (first.number, first.kind, first.duration_ms) == (1, "timeout", 10_000)
    assert (first.started_at, first.run_id, first.excerpt) == (NOON, run.id, None)
    assert (second.number, second.status_code, second.duration_ms) == (2, 200, 250)


def test_the_next_attempt_waits_for_its_time(setup):
    """A lead to be retried is not claimed before it is due, and has the next number then (3.1)."""
    run = setup.run()
    setup.enrol(run, lead("a"))
    setup.settle(run, setup.claim(run), failed(), setup.now + timedelta(seconds=60))
    setup.later(seconds=59)
    assert setup.claim(run) == []
    setup.later(seconds=1)
    [claimed] = setup.claim(run)
    assert claimed.attempt == 2


def test_the_last_failure_is_an_error(setup):
    """A failed attempt without another to come leaves the lead in error (Contract 3.2)."""
    run = setup.run()
    setup.fail(run, lead("a"))
    row = setup.row("a")
    assert (row.status, row.reason, row.due_at) == (Status.ERROR, "no answer in 10 s", None)


def test_released_leads_are_as_they_were(setup):
    """What was claimed and not sent is due at once, with no attempt counted."""
    run = setup.run()
    setup.enrol(run, lead("new"), lead("tried"))
    new, tried = setup.claim(run)
    setup.settle(run, [tried], failed(), setup.now)
    [tried] = setup.claim(run)
    setup.log.release([tried, new], setup.now)
    assert setup.row("new").status == Status.PENDING
    assert setup.row("tried").status == Status.RETRYING
    assert [(lead.lead_id, lead.attempt) for lead in setup.claim(run)] == [("new", 1), ("tried", 2)]


def test_a_stale_claim_cannot_release(setup):
    """A worker that lost its lease cannot take the lead from the one who has it now."""
    run = setup.run()
    setup.enrol(run, lead("a"))
    lost = setup.claim(run)
    setup.later(seconds=60)
    held = setup.claim(run)
    setup.log.release(lost, setup.now)
    assert setup.claim(run) == []
    assert setup.settle(run, held, delivered()) == []


def test_the_longest_due_go_first(setup):
    """A limited claim takes the leads that have waited longest."""
    run = setup.run()
    setup.enrol(run, lead("late"), lead("early"))
    setup.settle(run, setup.claim(run, 1), failed(), setup.now + timedelta(seconds=5))
    setup.settle(run, setup.claim(run, 1), failed(), setup.now + timedelta(seconds=3))
    setup.later(seconds=9)
    assert [lead.lead_id for lead in setup.claim(run, 1)] == ["early"]
    assert [lead.lead_id for lead in setup.claim(run, 1)] == ["late"]


def test_an_integration_claims_its_own_leads(setup):
    """What one integration owes another never sends."""
    run = setup.run()
    setup.enrol(run, lead("a"))
    assert setup.log.claim("make", 10, setup.now, timedelta(60), run=run) == []


def test_a_run_drains_what_others_left(setup):
    """Leads left by a run that died go out with the next one, which then owns them (4.6)."""
    dead, alive = setup.run("dead"), setup.run("alive")
    setup.enrol(dead, lead("a"))
    assert setup.claim(alive, only_own=True) == []
    assert len(setup.claim(alive)) == 1
    assert setup.log.counts(alive) == setup.log.counts(dead) == {Status.SENDING: 1}
    setup.later(seconds=60)
    assert len(setup.claim(alive, only_own=True)) == 1


def test_a_due_lead_without_payload_is_an_error(setup):
    """A lead that cannot be sent any more is not left due for ever."""
    run = setup.run()
    setup.enrol(run, lead("a"), lead("b"))
    with setup.log._engine.begin() as connection:
        connection.execute(text("UPDATE zbl_delivery SET payload = NULL WHERE lead_id = 'a'"))
    assert [lead.lead_id for lead in setup.claim(run)] == ["b"]
    row = setup.row("a")
    assert (row.status, row.claim, row.due_at) == (Status.ERROR, None, None)
    assert "cleared" in row.reason


def test_two_workers_never_get_the_same_lead(setup, log_url):
    """However many workers claim at once, every lead is given out once (Contract 4.6)."""
    run = setup.run()
    setup.enrol(run, *(lead(f"{n:03}") for n in range(400)))
    start = threading.Barrier(4)

    def work(_: int) -> list[str]:
        log = DeliveryLog(log_url)
        start.wait()
        got = []
        while claimed := log.claim(ZAPIER, 7, setup.now, timedelta(60), run=run):
            got += [lead.lead_id for lead in claimed]
        log.close()
        return got

    with ThreadPoolExecutor(4) as pool:
        given = [lead_id for got in pool.map(work, range(4)) for lead_id in got]
    # PostgreSQL's SKIP LOCKED may tell a worker "none left" while another still holds its rows.
    given += [lead.lead_id for lead in setup.claim(run, 400)]
    assert sorted(given) == [f"{n:03}" for n in range(400)]


def test_enrolling_the_same_leads_at_once_takes_each_once(setup, log_url):
    """Runs that find the same new leads, in any order, neither fail nor enrol one twice (4.4)."""
    leads = [lead(f"{n:03}") for n in range(300)]
    runs = [setup.run(f"run {n}") for n in range(4)]
    start = threading.Barrier(4)

    def work(n: int) -> int:
        log = DeliveryLog(log_url)
        start.wait()
        new = 0
        batch: list[Candidate] = leads[::-1] if n % 2 else leads
        for at in range(0, 300, 50):
            new += log.enrol(runs[n], ZAPIER, batch[at : at + 50], setup.now).new
        log.close()
        return new

    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(work, range(4))) == 300
    assert len(setup.rows()) == 300
    assert all(setup.log.counts(run) == {Status.PENDING: 300} for run in runs)
