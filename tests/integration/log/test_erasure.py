"""A person is forgotten on request, and is not written to again (Contract 4.4 and 6.4)."""

from __future__ import annotations

import traceback
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.integration.log.bench import LEASE, ZAPIER, delivered, failed, lead
from zbl_provider.exceptions import DeliveryLogFault
from zbl_provider.leads.payload import webhook_id
from zbl_provider.log.model import Erased, RunKey, Status
from zbl_provider.log.storage import tables

MARK = "mqz7"


def person(lead_id=MARK, integration=ZAPIER, **fields):
    """Return a candidate with the mark in its data, and the webhook-id that it really has."""
    body = f'{{"email": "{MARK}@example.com"}}'.encode()
    candidate = lead(lead_id, body=body, **fields)
    return replace(candidate, webhook_id=webhook_id(integration, lead_id))


def everything(bench):
    """Return all that rests in the log, as text."""
    return repr([bench.rows(table) for table in tables.metadata.tables.values()])


def test_nothing_of_a_delivered_lead_is_left_and_it_stays_delivered(bench):
    """Payload, answers and id go; the lead is settled, and not sent again (Contract 4.4)."""
    run = bench.run()
    bench.enrol(run, person(), lead("other"))
    echo = replace(delivered(), excerpt=f"you sent {MARK}")
    assert bench.settle(run, bench.claim(run), echo) == []
    assert bench.log.erase(MARK, bench.now) == Erased(1, 1, 1, 0)
    [row] = [row for row in bench.rows() if row.lead_id != "other"]
    assert (row.status, row.payload, row.reason) == (Status.DELIVERED, None, None)
    assert row.lead_id == f"erased-{row.id}"
    assert bench.row("other").payload is not None
    left = {one.delivery_id: one.excerpt for one in bench.rows(tables.attempt)}
    assert (left[row.id], left[bench.row("other").id] is None) == (None, False)
    assert bench.log.erase("other", bench.now).deliveries == 0, "its ids are made up"
    assert bench.log.erase(MARK, bench.now) == Erased(0, 0, 0, 0)


@pytest.mark.parametrize("state", ["pending", "retrying", "error", "filtered", "invalid", "dead"])
def test_what_was_not_delivered_is_settled_and_never_sent(bench, state):
    """A lead that waits, failed or was kept back is kept back for good (Contract 5.4)."""
    run = bench.run()
    if state in {"filtered", "invalid"}:
        bench.enrol(run, person(status=Status(state), reason=f"of {MARK}"))
    else:
        bench.enrol(run, person())
    if state in {"retrying", "error", "dead"}:
        claimed = bench.claim(run)
        if state != "dead":
            due_at = bench.now if state == "retrying" else None
            bench.settle(run, claimed, replace(failed(), excerpt=MARK, detail=MARK), due_at)
    bench.later(minutes=2)
    assert bench.log.erase(MARK, bench.now).deliveries == 1
    assert MARK not in everything(bench)
    [row] = bench.rows()
    assert (row.status, row.reason) == (Status.FILTERED, "erased on request")
    assert bench.claim(run) == []
    assert bench.log.counts(run) == {Status.FILTERED: 1}


def test_an_erased_lead_that_a_query_finds_again_is_left_alone(bench):
    """Neither a look-back nor a clear nor who asks for it puts its data back (4.4, 4.5)."""
    first = bench.run("first")
    bench.enrol(first, person(), person("other"))
    assert bench.settle(first, bench.claim(first, limit=1), delivered()) == []
    bench.log.erase(MARK, bench.now)
    bench.log.erase("other", bench.now)
    rules = {"resend_delivered": True, "resend_errors": True, "refresh_delivered": True}
    for run in (bench.run("second"), bench.run("first", epoch=1)):
        found = [person(), person("other", fingerprint="f2")]
        assert bench.enrol(run, *found, **rules).skipped == 2
    assert bench.log.reopen(first, 1, bench.now, everything=True).reopened == 0
    assert bench.claim(first) == []
    assert MARK not in everything(bench)


def test_every_integration_forgets(bench):
    """A lead is erased wherever it was sent (Contract 6.4)."""
    for name in (ZAPIER, "make"):
        run = bench.log.begin(RunKey("dag", name, "run"), name, 0, bench.now)
        bench.log.enrol(run, name, [person(integration=name)], bench.now)
    assert bench.log.erase(MARK, bench.now).deliveries == 2
    assert MARK not in everything(bench)


def test_a_lead_in_flight_is_left_and_said(bench):
    """What a worker is sending is settled first; erasing again a moment later removes it (6.2)."""
    run = bench.run()
    bench.enrol(run, person())
    claimed = bench.claim(run)
    assert bench.log.erase(MARK, bench.now) == Erased(0, 0, 0, in_flight=1)
    assert bench.settle(run, claimed, delivered()) == []
    assert bench.log.erase(MARK, bench.now) == Erased(1, 1, 1, 0)


def test_a_worker_that_comes_back_from_the_dead_writes_nothing(bench):
    """The lease was over when the lead was erased: what its worker brings is refused (6.2)."""
    run = bench.run()
    bench.enrol(run, person())
    claimed = bench.claim(run)
    bench.now += 2 * LEASE
    assert bench.log.erase(MARK, bench.now).deliveries == 1
    assert len(bench.settle(run, claimed, replace(delivered(), excerpt=MARK))) == 1
    assert MARK not in everything(bench)


def test_a_row_that_the_database_refuses_is_not_shown(bench):
    """A driver would quote the whole row: what is raised names the rule alone (4.3 and 6.4)."""
    run = bench.run()
    spoilt = replace(person(reason=MARK), fingerprint=None)
    with pytest.raises(DeliveryLogFault) as failure:
        bench.enrol(run, spoilt)
    shown = "".join(traceback.format_exception(failure.value))
    assert "fingerprint" in shown
    assert MARK not in shown


@pytest.mark.parametrize("again", [False, True])
def test_a_person_who_was_purged_before_is_forgotten_too(bench, again):
    """Only the hash is left, or the lead came back to order: no order sends it now (4.4, 6.4)."""
    year = timedelta(days=365)
    bench.deliver(bench.run("first"), person())
    bench.later(days=366)
    assert bench.log.purge_rows(bench.now, year) == 1
    if again:
        bench.enrol(bench.run("to order"), person(), resend_delivered=True)
    bench.log.erase(MARK, bench.now)
    bench.later(days=366)
    bench.log.purge_rows(bench.now, year)
    last = bench.run("last")
    assert bench.enrol(last, person(), resend_delivered=True).skipped == 1
    assert bench.claim(last) == []
