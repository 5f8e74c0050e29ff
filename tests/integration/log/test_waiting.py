"""Which leads wait: asked of a real log, and compared with what enrolling them would do."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.log.setup import LEASE, NOON, delivered, failed
from zbl_provider.delivery.destination import Destination
from zbl_provider.dispatch.intake import candidate
from zbl_provider.leads.lead import read_lead
from zbl_provider.log.model import RunKey, Status
from zbl_provider.watch.backlog import Missing, read_backlog

ZAPIER = Destination.parse(
    integration="zapier", host="https://hooks.example.com/", extra={"min_score": 70}
)
COLUMNS = ("id", "email", "score")
GRACE = timedelta(seconds=30)


def row(lead_id, score=80, email="ana@example.com"):
    return COLUMNS, (lead_id, email, score)


def candidates(*rows):
    return [
        candidate(read_lead(dict(zip(COLUMNS, values, strict=True))), ZAPIER) for _, values in rows
    ]


def ask(log, *rows):
    """Return what each row's lead needs, by its place among the rows; absent for nothing."""
    return {
        place: lead.missing
        for place, values in enumerate(rows)
        for lead in read_backlog([values], None, ZAPIER, log)
    }


@pytest.fixture
def past(setup):
    """Have every kind of lead in the log: return its rows as the query has them now, by kind."""
    rows = {
        name: row(lead_id)
        for lead_id, name in enumerate(
            ["delivered", "error", "retrying", "sending", "pending", "purged", "erased", "unknown"]
        )
    }
    run = setup.run("purged")

    def enrol(*names):
        setup.log.enrol(run, "zapier", candidates(*(rows[name] for name in names)), setup.now)

    enrol("purged", "erased")
    setup.settle(run, setup.claim(run), delivered())
    setup.log.erase("6", setup.now)
    setup.later(days=2)
    assert setup.log.purge_rows(setup.now, timedelta(days=1)) == 2
    run = setup.run("past")
    for name, outcome, wait in [
        ("delivered", delivered(), None),
        ("error", failed(), None),
        ("retrying", failed(), timedelta(hours=1)),
    ]:
        enrol(name)
        setup.settle(run, setup.claim(run), outcome, wait and setup.now + wait)
    enrol("sending")
    setup.claim(run)
    enrol("pending")
    kept_back = {
        "filtered": row(20, score=50),
        "invalid": row(21, email="no address"),
        "passed": row(22, score=50),
        "repaired": row(23, email="no address"),
        "broken anew": row(24, email="no address"),
        "kept back anew": row(25, score=50),
    }
    setup.log.enrol(run, "zapier", candidates(*kept_back.values()), setup.now)
    return (
        rows
        | kept_back
        | {
            "passed": row(22),
            "repaired": row(23),
            "broken anew": row(24, email="none either"),
            "kept back anew": row(25, score=60),
            "unknown and filtered": row(30, score=50),
            "unknown and invalid": row(31, email="no address"),
        }
    )


def test_what_waits_and_what_does_not(setup, past):
    """Leads to be sent wait, and those that a task has to fail for (Contract 8.1, 4.4 to 4.6)."""
    needs = ask(setup.log, *past.values())
    assert {name: needs[place] for place, name in enumerate(past) if place in needs} == {
        "retrying": Missing.OUTCOME,
        "sending": Missing.OUTCOME,
        "pending": Missing.OUTCOME,
        "unknown": Missing.ENROLMENT,
        "passed": Missing.ENROLMENT,
        "repaired": Missing.ENROLMENT,
        "broken anew": Missing.ENROLMENT,
        "unknown and invalid": Missing.ENROLMENT,
    }


def test_a_sensor_and_an_operator_mean_the_same_leads(setup, past):
    """A lead waits when a new run would take it on, and not only note it as filtered (8.1)."""
    needs = ask(setup.log, *past.values())
    for place, values in enumerate(past.values()):
        run = setup.log.begin(RunKey("dag", "task", f"new {place}"), "zapier", 0, setup.now)
        setup.log.enrol(run, "zapier", candidates(values), setup.now)
        taken_on = set(setup.log.counts(run)) - {Status.FILTERED}
        assert (place in needs) == bool(taken_on), list(past)[place]


def test_a_look_changes_nothing(setup, past):
    """Sensors and triggers read, and do nothing else (Contract 3.4)."""
    before = setup.rows()
    ask(setup.log, *past.values())
    assert setup.rows() == before


def test_of_rows_with_one_id_the_first_that_passes_counts(setup):
    """As in enrolment, wherever it stands; a row without an id has one of its own (4.8, 5.5)."""
    others = [row(lead_id) for lead_id in range(1000, 1600)]
    kept_back, passes, invalid = row(1, score=50), row(1), row(1, email="no address")
    rows = [kept_back, invalid, *others, passes, row(1, score=90), row(None), row(None, score=1)]
    keys = [lead.key for lead in read_backlog(rows, None, ZAPIER, setup.log)]
    assert len(keys) == 603
    (chosen,) = candidates(passes)
    assert f"{chosen.webhook_id} {chosen.fingerprint}" in keys


def test_repeated_rows_that_do_not_pass_are_looked_at_once(setup):
    """Only the first of them counts, so a look after the run finds no change (4.8, 5.4, 5.5)."""
    first, second = row(1, email="no address"), row(1, email="none either")
    others = [row(lead_id, score=1) for lead_id in range(1000, 1600)]
    setup.log.enrol(setup.run(), "zapier", candidates(first, *others), setup.now)
    assert list(read_backlog([first, *others, second], None, ZAPIER, setup.log)) == []


def test_overdue_is_what_nobody_minds(setup):
    """Leads of a run that died are counted; those that wait, or are being sent, are not (4.6)."""
    run = setup.run()
    late = setup.now + GRACE + timedelta(seconds=1)

    def overdue(now=late):
        return setup.log.overdue("zapier", now - GRACE, now)

    setup.log.enrol(run, "zapier", candidates(row(1), row(2)), setup.now)
    assert overdue(setup.now) == 0
    assert overdue() == 2
    claimed = setup.claim(run, 1)
    assert overdue() == 0, "a task is at work, and will come to the other one"
    assert overdue(NOON + LEASE + GRACE + timedelta(seconds=1)) == 2, "it has died"
    setup.settle(run, claimed, failed(), setup.now + timedelta(hours=1))
    assert overdue() == 1
    setup.log.hold("zapier", "Ana", setup.now)
    assert overdue() == 0
    setup.log.resume("zapier")
    assert overdue() == 1
    setup.log.pause("zapier", 401, setup.now)
    assert overdue() == 0
    assert setup.log.overdue("make", late, late) == 0


def test_who_needs_only_the_id_is_told_as_known_tells_it(setup, past):
    """A lead at the statuses asked for, or erased, is settled; the log's rows say which (4.4)."""
    ids = [candidate.webhook_id for candidate in candidates(*past.values())]
    known = setup.log.known(ids)
    for statuses in ((Status.DELIVERED,), (Status.DELIVERED, Status.ERROR)):
        unsettled, own = setup.log.unsettled(ids, statuses)
        purged = {key for key, lead in known.items() if lead.id == 0}
        settled = {key for key, lead in known.items() if lead.status in statuses} - purged
        assert unsettled == set(ids) - settled
        assert own == set()
    run = setup.log.begin(RunKey("dag", "task", "past"), "zapier", 0, setup.now)
    assert len(setup.log.unsettled(ids, (Status.DELIVERED,), run).own) == 1
    assert setup.log.unsettled([], (Status.DELIVERED,), run) == (set(), set())
