"""What enrolling does to the log's rows; the whole decision table is in the unit tests."""

from __future__ import annotations

import gc
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import event
from sqlalchemy.sql import ClauseElement

from tests.integration.log.setup import LEASE, NOON, ZAPIER, Setup, delivered, failed, lead
from tests.support.databases import empty_database
from zbl_provider.log.model import Enrolment, Status
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog


def kept_back(lead_id, status=Status.FILTERED, reason="score is under min_score 70", **options):
    return lead(lead_id, status=status, reason=reason, **options)


def test_a_new_lead_is_due_at_once(setup):
    """A lead is in the log before it is sent (Contract 6.2)."""
    run = setup.run()
    assert setup.enrol(run, lead("a")) == Enrolment(new=1)
    row = setup.row("a")
    assert (row.status, row.due_at, row.attempts, row.resend) == (Status.PENDING, NOON, 0, 0)
    assert (row.run_id, row.webhook_id, row.integration) == (run.id, "msg_a", "zapier")


@pytest.mark.parametrize("status", [Status.FILTERED, Status.INVALID])
def test_what_is_kept_back_is_recorded_and_not_due(setup, status):
    """A lead kept back is in the log with its reason, and its data are not (5.4, 5.5, 6.4)."""
    run = setup.run()
    assert setup.enrol(run, kept_back("a", status, body=b"{}")) == Enrolment(new=1)
    row = setup.row("a")
    assert (row.status, row.reason) == (status, "score is under min_score 70")
    assert (row.due_at, row.payload) == (None, None)
    assert setup.claim(run) == []


def test_nothing_to_enrol(setup):
    """An empty batch is no error."""
    assert setup.enrol(setup.run()) == Enrolment()


def test_a_lead_found_twice_counts_once(setup):
    """A join in the user's query is no error: the first row of a lead counts."""
    run = setup.run()
    enrolment = setup.enrol(run, lead("a"), lead("b"), lead("a", fingerprint="f2"))
    assert enrolment == Enrolment(new=2, repeated=1)
    assert setup.row("a").fingerprint == "f1"


def test_every_candidate_is_counted_once(setup):
    """The counts of an enrolment add up to what was found."""
    first, second = setup.run("first"), setup.run("second")
    setup.deliver(first, lead("delivered"))
    setup.fail(first, lead("error"))
    setup.enrol(first, kept_back("filtered"), lead("pending"))
    batch = [lead("delivered"), lead("error"), kept_back("filtered"), lead("pending"), lead("new")]
    since = setup.row("error").updated_at
    assert setup.enrol(second, *batch) == Enrolment(
        new=1, joined=1, skipped=2, unchanged=1, failed=1, failed_since=since
    )


def test_a_run_that_enrols_again_changes_nothing(setup):
    """An Airflow retry goes on where it was (Contract 4.5)."""
    run = setup.run()
    setup.deliver(run, lead("done"))
    setup.enrol(run, lead("waits"))
    before = setup.rows()
    setup.later(minutes=1)
    assert setup.enrol(run, lead("done"), lead("waits")) == Enrolment(unchanged=2)
    assert setup.rows() == before
    assert setup.rows(tables.run_delivery) == []


def test_a_delivered_lead_is_skipped_by_a_later_run(setup):
    """A lead already delivered to an integration is not sent to it again (Contract 4.4)."""
    setup.deliver(setup.run("first"), lead("a"))
    second = setup.run("second")
    assert setup.enrol(second, lead("a", fingerprint="f2")) == Enrolment(skipped=1)
    assert setup.claim(second) == []
    assert setup.log.counts(second) == {}


def test_resend_delivered_sends_once_a_run(setup):
    """if_delivered="send" sends again with the present payload, but not at a retry (4.4)."""
    setup.deliver(setup.run("first"), lead("a"))
    second = setup.run("second")
    changed = lead("a", fingerprint="f2")
    assert setup.enrol(second, changed, resend_delivered=True) == Enrolment(joined=1)
    row = setup.row("a")
    assert (row.status, row.resend, row.attempts) == (Status.PENDING, 1, 0)
    assert row.delivered_at is None
    [claimed] = setup.claim(second)
    assert (claimed.body, claimed.attempt, claimed.webhook_id) == (b"a f2", 1, "msg_a")
    setup.settle(second, [claimed], delivered())
    assert setup.enrol(second, changed, resend_delivered=True) == Enrolment(unchanged=1)
    assert setup.claim(second) == []
    assert [(row.resend, row.number) for row in setup.rows(tables.attempt)] == [(0, 1), (1, 1)]


def test_refresh_delivered_changes_the_payload_and_nothing_else(setup):
    """Before resend_all, a run's delivered leads get their present payload (Contract 4.5)."""
    run = setup.run()
    setup.deliver(run, lead("a"))
    setup.enrol(run, lead("a", fingerprint="f2"), refresh_delivered=True)
    row = setup.row("a")
    assert (row.status, row.fingerprint, row.due_at) == (Status.DELIVERED, "f2", None)
    assert setup.claim(run) == []
    setup.log.reopen(run, 1, setup.now, everything=True)
    [claimed] = setup.claim(run)
    assert claimed.body == b"a f2"


def test_refresh_delivered_leaves_other_runs_leads_alone(setup):
    """A run refreshes only what it may reopen."""
    setup.deliver(setup.run("first"), lead("a"))
    setup.enrol(setup.run("second"), lead("a", fingerprint="f2"), refresh_delivered=True)
    assert setup.row("a").fingerprint == "f1"


def test_a_lead_in_error_gets_its_present_payload(setup):
    """A resend sends the row as it is by then; until then the lead stays in error (4.5)."""
    first, second = setup.run("first"), setup.run("second")
    setup.fail(first, lead("a"))
    since = setup.row("a").updated_at
    assert setup.enrol(second, lead("a", fingerprint="f2")) == Enrolment(
        skipped=1, failed=1, failed_since=since
    )
    row = setup.row("a")
    assert (row.status, row.fingerprint, row.reason) == (Status.ERROR, "f2", "no answer in 10 s")
    assert setup.log.counts(second) == {}
    setup.log.reopen(first, 1, setup.now)
    [claimed] = setup.claim(first)
    assert claimed.body == b"a f2"


def test_resend_errors_gives_new_attempts_once_a_run(setup):
    """Who asks again for a lead in error gets it sent; an Airflow retry does not (4.6, 3.2)."""
    setup.fail(setup.run("first"), lead("a"))
    second = setup.run("second")
    assert setup.enrol(second, lead("a"), resend_errors=True) == Enrolment(joined=1)
    row = setup.row("a")
    assert (row.status, row.resend, row.attempts, row.reason) == (Status.PENDING, 1, 0, None)
    setup.settle(second, setup.claim(second), failed())
    assert setup.enrol(second, lead("a"), resend_errors=True) == Enrolment(unchanged=1)
    assert setup.row("a").status == Status.ERROR


def test_what_was_kept_back_goes_out_when_it_passes(setup):
    """A filtered lead is sent by a later run once the lead or the filter has changed (5.4)."""
    setup.enrol(setup.run("first"), kept_back("a"))
    second = setup.run("second")
    assert setup.enrol(second, lead("a")) == Enrolment(joined=1)
    row = setup.row("a")
    assert (row.status, row.reason, row.due_at) == (Status.PENDING, None, NOON)
    [claimed] = setup.claim(second, only_own=True)
    assert claimed.body == b"a f1"


def test_what_stays_kept_back_is_not_the_next_runs(setup):
    """An invalid lead fails the task that found it, not every later one (5.5)."""
    setup.enrol(setup.run("first"), kept_back("a", Status.INVALID, "lead.score is not a number"))
    second = setup.run("second")
    invalid = kept_back("a", Status.INVALID, "lead.score is not a number")
    assert setup.enrol(second, invalid) == Enrolment(unchanged=1)
    assert setup.log.counts(second) == {}
    changed = kept_back("a", Status.INVALID, "lead.name is too long", fingerprint="f2")
    assert setup.enrol(second, changed) == Enrolment(joined=1)
    assert setup.log.counts(second) == {Status.INVALID: 1}


def test_an_untried_lead_follows_its_row(setup):
    """A lead held is sent as its row is when it goes out, or kept back (Contract 1.2, 5.4)."""
    first, second = setup.run("first"), setup.run("second")
    setup.enrol(first, lead("changes"), lead("fails"))
    enrolment = setup.enrol(second, lead("changes", fingerprint="f2"), kept_back("fails"))
    assert enrolment == Enrolment(joined=2)
    [claimed] = setup.claim(first)
    assert claimed.body == b"changes f2"
    row = setup.row("fails")
    assert (row.status, row.payload, row.due_at) == (Status.FILTERED, None, None)


def test_a_lead_under_way_goes_out_as_it_is(setup):
    """What was tried already is joined, and keeps the payload of its attempts."""
    first, second = setup.run("first"), setup.run("second")
    setup.enrol(first, lead("sent"), lead("tried"))
    sent, tried = setup.claim(first)
    setup.settle(first, [tried], failed(), setup.now + timedelta(seconds=60))
    batch = (lead("sent", fingerprint="f2"), kept_back("tried"))
    assert setup.enrol(second, *batch) == Enrolment(joined=2)
    assert setup.row("sent").fingerprint == setup.row("tried").fingerprint == "f1"
    assert setup.settle(first, [sent], delivered()) == []
    assert setup.log.counts(second) == {Status.DELIVERED: 1, Status.RETRYING: 1}


def test_an_id_that_no_database_takes_stops_nobody(setup):
    """One bad lead never stops the others (Contract 4.2)."""
    run = setup.run()
    odd = "a\0\ud800" + "x" * 9000
    setup.enrol(run, replace(kept_back(odd, Status.INVALID, odd), webhook_id="msg_a"), lead("b"))
    assert setup.log.counts(run) == {Status.INVALID: 1, Status.PENDING: 1}
    [failed] = setup.log.first_failed(run)
    assert failed.lead_id == failed.reason == "a\N{SYMBOL FOR NULL}?" + "x" * 9000


def test_leads_go_out_in_the_order_they_were_found(setup):
    """The order of the user's query decides who goes first."""
    run = setup.run()
    ids = ["m", "z", "a", "k"]
    setup.enrol(run, *map(lead, ids))
    assert [lead.lead_id for lead in setup.claim(run, 2)] == ids[:2]
    assert [lead.lead_id for lead in setup.claim(run, 2)] == ids[2:]


def test_a_lead_claimed_while_it_is_enrolled_keeps_its_payload(postgres):
    """Between a look at a lead and the change of it another worker may begin to send it."""
    with empty_database(postgres) as url:
        log, other = DeliveryLog(url), Setup(DeliveryLog(url))
        log.upgrade()
        setup, claimed = Setup(log), []
        first, second = setup.run("first"), setup.run("second")
        setup.enrol(first, lead("a"))

        def claim_before(_connection, _cursor, statement, *_):
            if "FOR UPDATE" in statement and not claimed:
                claimed.extend(other.claim(first))

        event.listen(log._engine, "before_cursor_execute", claim_before)
        assert setup.enrol(second, lead("a", fingerprint="f2")) == Enrolment(joined=1)
        assert [lead.body for lead in claimed] == [b"a f1"]
        assert (setup.row("a").status, setup.row("a").fingerprint) == (Status.SENDING, "f1")
        log.close()
        other.log.close()


def test_what_is_new_can_be_claimed_as_it_is_enrolled(setup):
    """One write enrols and claims: nobody else has it until the lease runs out (4.6 and 6.2)."""
    run = setup.run()
    setup.enrol(run, lead("known"))
    batch = [lead("known"), lead("new"), kept_back("filtered", body=b"{}")]
    enrolment = setup.log.enrol(run, ZAPIER, batch, setup.now, lease=LEASE)
    assert [(lead.lead_id, lead.body, lead.attempt) for lead in enrolment.claimed] == [
        ("new", b"new f1", 1)
    ]
    assert [lead.lead_id for lead in setup.claim(setup.run("other"))] == ["known"]
    setup.settle(run, enrolment.claimed, delivered())
    assert setup.log.find("msg_new").status is Status.DELIVERED


def test_a_lease_given_at_enrolment_runs_out_like_any_other(setup):
    """Should its worker die, the lead goes out with the next claim, at no attempt's cost (6.2)."""
    run = setup.run()
    (claimed,) = setup.log.enrol(run, ZAPIER, [lead("a")], setup.now, lease=LEASE).claimed
    assert setup.claim(setup.run("other")) == []
    setup.later(seconds=LEASE.total_seconds())
    (again,) = setup.claim(setup.run("other"))
    assert (again.lead_id, again.body, again.attempt) == ("a", claimed.body, 1)
    assert setup.settle(run, [claimed], delivered()) != [], "the first owner is fenced off"


def test_a_batch_leaves_nothing_that_only_the_garbage_collector_frees(setup):
    """A task seldom has it look: what a batch leaves would stay, with all ids of the batch (6)."""
    run = setup.run()

    def write(name):
        leads = [lead(f"{name}{number}") for number in range(5)]
        claimed = setup.log.enrol(run, ZAPIER, leads, setup.now, lease=LEASE).claimed
        setup.settle(run, claimed, delivered())
        setup.log.enrol(run, ZAPIER, leads, setup.now)  # the log knows them

    write("first ")  # what is built once is built now
    write("second ")
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        write("third ")
        gc.collect()
        left = [type(found).__name__ for found in gc.garbage if isinstance(found, ClauseElement)]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()
    assert left == []
