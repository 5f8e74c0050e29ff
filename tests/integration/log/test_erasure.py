"""A person is forgotten on request, and is not written to again (Contract 4.4 and 6.4)."""

from __future__ import annotations

import traceback
from dataclasses import replace
from datetime import timedelta

import pytest

from tests.integration.log.setup import LEASE, ZAPIER, Setup, delivered, failed, lead
from zbl_provider.exceptions import DeliveryLogFault
from zbl_provider.leads.payload import webhook_id
from zbl_provider.log.model import Erased, RunKey, Status
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog

MARK = "mqz7"


def person(lead_id=MARK, integration=ZAPIER, **fields):
    """Return a candidate with the mark in its data, and the webhook-id that it really has."""
    body = f'{{"email": "{MARK}@example.com"}}'.encode()
    candidate = lead(lead_id, body=body, **fields)
    return replace(candidate, webhook_id=webhook_id(integration, lead_id))


def everything(setup):
    """Return all that rests in the log, as text."""
    return repr([setup.rows(table) for table in tables.metadata.tables.values()])


def test_nothing_of_a_delivered_lead_is_left_and_it_stays_delivered(setup):
    """Payload, answers and id go; the lead is settled, and not sent again (Contract 4.4)."""
    run = setup.run()
    setup.enrol(run, person(), lead("other"))
    echo = replace(delivered(), excerpt=f"you sent {MARK}")
    assert setup.settle(run, setup.claim(run), echo) == []
    assert setup.log.erase(MARK, setup.now) == Erased(1, 1, 1, 0)
    [row] = [row for row in setup.rows() if row.lead_id != "other"]
    assert (row.status, row.payload, row.reason) == (Status.DELIVERED, None, None)
    assert row.lead_id == f"erased-{row.id}"
    assert setup.row("other").payload is not None
    left = {attempt.delivery_id: attempt.excerpt for attempt in setup.rows(tables.attempt)}
    assert (left[row.id], left[setup.row("other").id] is None) == (None, False)
    assert setup.log.erase("other", setup.now).deliveries == 0, "its ids are made up"
    assert setup.log.erase(MARK, setup.now) == Erased(0, 0, 0, 0)


def test_nothing_of_a_person_is_left_in_an_sqlite_file(tmp_path):
    """What a file's free pages and its journal still have is removed, too (Contract 6.4)."""
    log = DeliveryLog(f"sqlite:///{tmp_path}/log.db")
    log.upgrade()
    setup = Setup(log)
    run = setup.run()
    setup.enrol(run, person())
    echo = replace(delivered(), excerpt=f"you sent {MARK}")
    setup.settle(run, setup.claim(run), echo)
    setup.enrol(run, *(lead(f"other-{n}") for n in range(50)))
    assert MARK.encode() in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    setup.log.erase(MARK, setup.now)
    assert MARK.encode() not in b"".join(file.read_bytes() for file in tmp_path.iterdir())
    setup.log.close()


@pytest.mark.parametrize("state", ["pending", "retrying", "error", "filtered", "invalid", "dead"])
def test_what_was_not_delivered_is_settled_and_never_sent(setup, state):
    """A lead that waits, failed or was kept back is kept back for good (Contract 5.4)."""
    run = setup.run()
    if state in {"filtered", "invalid"}:
        setup.enrol(run, person(status=Status(state), reason=f"of {MARK}"))
    else:
        setup.enrol(run, person())
    if state in {"retrying", "error", "dead"}:
        claimed = setup.claim(run)
        if state != "dead":
            due_at = setup.now if state == "retrying" else None
            setup.settle(run, claimed, replace(failed(), excerpt=MARK, detail=MARK), due_at)
    setup.later(minutes=2)
    assert setup.log.erase(MARK, setup.now).deliveries == 1
    assert MARK not in everything(setup)
    [row] = setup.rows()
    assert (row.status, row.reason) == (Status.FILTERED, "erased on request")
    assert setup.claim(run) == []
    assert setup.log.counts(run) == {Status.FILTERED: 1}


def test_an_erased_lead_that_a_query_finds_again_is_left_alone(setup):
    """Neither a look-back nor a clear nor who asks for it puts its data back (4.4, 4.5)."""
    first = setup.run("first")
    setup.enrol(first, person(), person("other"))
    assert setup.settle(first, setup.claim(first, limit=1), delivered()) == []
    setup.log.erase(MARK, setup.now)
    setup.log.erase("other", setup.now)
    rules = {"resend_delivered": True, "resend_errors": True, "refresh_delivered": True}
    for run in (setup.run("second"), setup.run("first", epoch=1)):
        batch = [person(), person("other", fingerprint="f2")]
        assert setup.enrol(run, *batch, **rules).skipped == 2
    assert setup.log.reopen(first, 1, setup.now, everything=True).reopened == 0
    assert setup.claim(first) == []
    assert MARK not in everything(setup)


def test_every_integration_forgets(setup):
    """A lead is erased wherever it was sent (Contract 6.4)."""
    for name in (ZAPIER, "make"):
        run = setup.log.begin(RunKey("dag", name, "run"), name, 0, setup.now)
        setup.log.enrol(run, name, [person(integration=name)], setup.now)
    assert setup.log.erase(MARK, setup.now).deliveries == 2
    assert MARK not in everything(setup)


def test_a_lead_in_flight_is_left_and_said(setup):
    """What a worker is sending is settled first; erasing again a moment later removes it (6.2)."""
    run = setup.run()
    setup.enrol(run, person())
    claimed = setup.claim(run)
    assert setup.log.erase(MARK, setup.now) == Erased(0, 0, 0, in_flight=1)
    assert setup.settle(run, claimed, delivered()) == []
    assert setup.log.erase(MARK, setup.now) == Erased(1, 1, 1, 0)


def test_a_worker_that_comes_back_from_the_dead_writes_nothing(setup):
    """The lease was over when the lead was erased: what its worker brings is refused (6.2)."""
    run = setup.run()
    setup.enrol(run, person())
    claimed = setup.claim(run)
    setup.now += 2 * LEASE
    assert setup.log.erase(MARK, setup.now).deliveries == 1
    assert len(setup.settle(run, claimed, replace(delivered(), excerpt=MARK))) == 1
    assert MARK not in everything(setup)


def test_a_row_that_the_database_refuses_is_not_shown(setup):
    """A driver would quote the whole row: what is raised names the rule alone (4.3 and 6.4)."""
    run = setup.run()
    spoilt = replace(person(reason=MARK), fingerprint=None)
    with pytest.raises(DeliveryLogFault) as failure:
        setup.enrol(run, spoilt)
    shown = "".join(traceback.format_exception(failure.value))
    assert "fingerprint" in shown
    assert MARK not in shown


@pytest.mark.parametrize("again", [False, True])
def test_a_person_who_was_purged_before_is_forgotten_too(setup, again):
    """Only the hash is left, or the lead came back to order: no order sends it now (4.4, 6.4)."""
    year = timedelta(days=365)
    setup.deliver(setup.run("first"), person())
    setup.later(days=366)
    assert setup.log.purge_rows(setup.now, year) == 1
    if again:
        setup.enrol(setup.run("to order"), person(), resend_delivered=True)
    setup.log.erase(MARK, setup.now)
    setup.later(days=366)
    setup.log.purge_rows(setup.now, year)
    last = setup.run("last")
    assert setup.enrol(last, person(), resend_delivered=True).skipped == 1
    assert setup.claim(last) == []
