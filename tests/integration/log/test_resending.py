"""Chosen leads are marked in the log, and sent by the clear that follows (Contract 8.4)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from sqlalchemy import event

from tests.integration.log.setup import ZAPIER, delivered, failed, lead
from zbl_provider.log.browse.model import Query, Resent
from zbl_provider.log.model import Reopened, RunKey, Status
from zbl_provider.log.storage import tables

RUN = RunKey("dag", "task", "run")


@pytest.fixture
def failures(setup):
    """Give a run with one delivered lead, one kept back, and three in error."""
    run = setup.run()
    setup.deliver(run, lead("done"))
    setup.enrol(run, lead("kept", status=Status.FILTERED, reason="r"))
    setup.fail(run, lead("a"), lead("b"), lead("c"))
    setup.later(minutes=5)
    return setup


def numbers(setup, *names):
    return [setup.row(name).id for name in names]


def statuses(setup):
    return {row.lead_id: str(row.status) for row in setup.rows()}


def resend(setup, *names, **options):
    return setup.log.resend(numbers(setup, *names), setup.now, **options)


def test_chosen_leads_get_new_attempts(failures):
    """A chosen lead is pending, due now, at its first attempt, under its old webhook-id (8.4)."""
    assert resend(failures, "a", "done") == Resent(2, 0, (RUN,))
    row = failures.row("a")
    assert (row.status, row.attempts, row.resend) == (Status.PENDING, 0, 1)
    assert (row.due_at, row.reason, row.webhook_id) == (failures.now, None, "msg_a")
    assert failures.row("done").delivered_at is None
    assert statuses(failures) == {
        "done": "pending",
        "kept": "filtered",
        "a": "pending",
        "b": "error",
        "c": "error",
    }


def test_the_clear_that_follows_sends_just_those(failures):
    """If leads were chosen, a clear sends just those, even with on_clear="resend_all" (8.4)."""
    resend(failures, "b")
    cleared = failures.run(epoch=1)
    assert (cleared.cleared, cleared.chosen) == (True, True)
    assert failures.log.reopen(cleared, 1, failures.now, everything=True) == Reopened(0, 0)
    assert [lead.lead_id for lead in failures.claim(cleared)] == ["b"]
    assert statuses(failures)["a"] == "error"


def test_a_choice_is_used_up_by_its_clear(failures):
    """The clear after that is an ordinary one (4.5)."""
    resend(failures, "b")
    failures.log.reopen(failures.run(epoch=1), 1, failures.now)
    again = failures.run(epoch=2)
    assert not again.chosen
    assert failures.log.reopen(again, 2, failures.now) == Reopened(2, 0)


def test_a_clear_cut_short_is_still_of_the_chosen(failures):
    """A task that dies before it has acted on its clear finds the choice again (6.2)."""
    resend(failures, "b")
    assert failures.run(epoch=1).chosen
    assert failures.run(epoch=1).chosen


def test_a_task_that_was_not_cleared_is_not_of_the_chosen(failures):
    """An Airflow retry, or a wait that is over, neither uses a choice nor loses it (4.5)."""
    resend(failures, "b")
    assert not failures.run(epoch=0).chosen
    assert failures.run(epoch=1).chosen


def test_another_run_may_be_quicker_than_the_clear(failures):
    """Though the chosen lead was sent meanwhile, its clear still means that one alone (8.4)."""
    resend(failures, "b")
    other = failures.run("other")
    failures.settle(other, failures.claim(other), delivered())
    failures.later(minutes=10)
    cleared = failures.run(epoch=1)
    assert failures.log.reopen(cleared, 1, failures.now) == Reopened(0, 0)
    assert statuses(failures)["a"] == "error"


def test_a_choice_that_no_clear_followed_is_forgotten(failures):
    """Long after another run has sent the chosen leads, a clear means all in error (4.5)."""
    resend(failures, "b")
    other = failures.run("other")
    failures.settle(other, failures.claim(other), delivered())
    failures.later(minutes=61)
    cleared = failures.run(epoch=1)
    assert not cleared.chosen
    assert failures.log.reopen(cleared, 1, failures.now) == Reopened(2, 0)
    assert not failures.run(epoch=2).chosen


def test_a_choice_waits_as_long_as_its_leads(failures):
    """However late the clear comes, while the chosen lead waits it means that one alone (8.4)."""
    resend(failures, "b")
    failures.later(days=3)
    assert failures.run(epoch=1).chosen


def test_who_cannot_clear_takes_the_choice_back(failures):
    """Without its clear a choice is forgotten at once, and its leads stay due (4.6, 8.4)."""
    resend(failures, "b")
    failures.log.forget_choice([RUN], failures.now)
    assert statuses(failures)["b"] == "pending"
    cleared = failures.run(epoch=1)
    assert failures.log.reopen(cleared, 1, failures.now) == Reopened(2, 0)


def chosen(setup, *parts):
    """Return runs of mapped task instances, each with one lead in error that was chosen."""
    keys = [RunKey("dag", "task", name, place) for name, place in parts]
    for key in keys:
        run = setup.log.begin(key, ZAPIER, 0, setup.now)
        setup.fail(run, lead(f"{key.run_id} {key.map_index}"))
    resend(setup, *(f"{key.run_id} {key.map_index}" for key in keys))
    return keys


def test_a_choice_is_taken_back_of_just_those_that_are_named(setup):
    """Of task instances that are alike in all but one part of their name, each is its own (8.4)."""
    keys = chosen(setup, *((name, place) for name in ("it's", 'a "b"') for place in (-1, 0, 1)))
    setup.log.forget_choice([*keys[:2], RunKey("dag", "other", "it's")], setup.now)
    marked = {(row.run_id, row.map_index): row.chosen for row in setup.rows(tables.run)}
    assert marked == {(key.run_id, key.map_index): key not in keys[:2] for key in keys}
    due = {row.lead_id: row.due_at for row in setup.rows()}
    early = {f"{key.run_id} {key.map_index}" for key in keys[:2]}
    assert {name for name, at in due.items() if at and at < setup.now} == early


@pytest.mark.parametrize("keys", [[], [RunKey("dag", "task", "unknown")]])
def test_nothing_is_taken_back_of_nobody(failures, keys):
    """A list without a known task instance changes nothing (Contract 8.4)."""
    resend(failures, "b")
    failures.log.forget_choice(keys, failures.now)
    assert failures.run(epoch=1).chosen


def test_many_choices_are_taken_back_by_as_many_statements_as_one(setup):
    """The page may name ten thousand task instances: they cost no statement each (8.4)."""
    keys = chosen(setup, *(("run", place) for place in range(30)))

    def statements(some):
        seen = []

        def note(*given):
            seen.append(given[2])

        event.listen(setup.log._engine, "before_cursor_execute", note)
        setup.log.forget_choice(some, setup.now)
        event.remove(setup.log._engine, "before_cursor_execute", note)
        return len(seen)

    assert statements(keys[:1]) == statements(keys[1:])
    assert not any(row.chosen for row in setup.rows(tables.run))


def test_a_choice_made_while_the_cleared_task_starts_is_kept(failures):
    """A choice is used up by the clear that follows it, not by one that came before (8.4)."""
    cleared = failures.run(epoch=1)
    resend(failures, "b")
    assert failures.log.reopen(cleared, 1, failures.now) == Reopened(2, 0)
    assert failures.run(epoch=2).chosen


def test_the_run_to_clear_is_the_one_that_failed_last(failures):
    """A lead that another run took over is resent by clearing the task that it failed (8.4)."""
    failures.log.reopen(failures.run(epoch=1), 1, failures.now)
    other = failures.run("other")
    failures.settle(other, failures.claim(other), failed())
    assert resend(failures, "a").runs == (RunKey("dag", "task", "other"),)
    assert not failures.run(epoch=2).chosen
    assert failures.run("other", epoch=1).chosen


def test_a_run_that_may_not_be_cleared_is_neither_named_nor_marked(failures):
    """Whose Dag failed a lead last may not be cleared by who resends it: its own Dag's run is.

    Who may not clear a run could not take its mark back either, and the next clear of it, meant for
    all its leads in error, would send the chosen ones alone (7.2, 8.4).
    """
    failures.log.reopen(failures.run(epoch=1), 1, failures.now)
    key = RunKey("foreign", "task", "run")
    foreign = failures.log.begin(key, ZAPIER, 0, failures.now)
    failures.enrol(foreign, lead("a"), lead("theirs"))
    failures.settle(foreign, failures.claim(foreign), failed())
    failures.later(minutes=5)
    assert resend(failures, "a", dags={"dag", "foreign"}).runs == (key,)
    failures.settle(foreign, failures.claim(foreign), failed())
    failures.log.forget_choice([key], failures.now)

    assert resend(failures, "a", dags={"dag"}) == Resent(1, 0, (RUN,))
    assert failures.log.send_now(Query(), failures.now, dags={"dag"}).runs == (RUN,)
    cleared = failures.run(epoch=2)
    failures.log.reopen(cleared, 2, failures.now)
    assert [lead.lead_id for lead in failures.claim(cleared)] == ["a"]
    assert not failures.log.begin(key, ZAPIER, 1, failures.now).chosen


def test_what_cannot_be_sent_is_counted(failures):
    """A lead whose payload is gone, or that never had one, is not sent again, and counted (6.4)."""
    failures.log.purge_payloads(failures.now, timedelta(0))
    assert resend(failures, "done", "kept", "a") == Resent(1, 2, (RUN,))
    assert statuses(failures)["done"] == "delivered"
    assert resend(failures, "done") == Resent(0, 1, ())


def test_what_is_under_way_is_left(failures):
    """A lead that is due already, or in flight, is not touched, and marks no run (8.4)."""
    run = failures.run("other")
    failures.enrol(run, lead("new"), lead("sending"))
    [sending] = [lead for lead in failures.claim(run) if lead.lead_id == "sending"]
    assert resend(failures, "new", "sending") == Resent(0, 0, ())
    assert failures.settle(run, [sending], delivered()) == []
    assert not failures.run("other", epoch=1).chosen


def test_numbers_that_are_not_there_are_no_problem(failures):
    """What was removed between the look and the click is left out (8.4)."""
    assert failures.log.resend([10**6], failures.now) == Resent(0, 0, ())
    assert failures.log.resend([], failures.now) == Resent(0, 0, ())


def test_all_in_error_are_resent_by_a_query(failures):
    """A query means those of its leads that are in error; how many is known before (8.4)."""
    assert failures.log.resendable(Query(integration=ZAPIER)) == 3
    assert failures.log.resend(Query(integration=ZAPIER), failures.now) == Resent(3, 0, (RUN,))
    assert statuses(failures)["done"] == "delivered"
    assert failures.log.resendable(Query()) == 0


@pytest.mark.parametrize(
    "query", [Query(integration="make"), Query(dag_id="other"), Query(status=Status.DELIVERED)]
)
def test_a_query_resends_nothing_else(failures, query):
    """A resend keeps to all filters of its query (8.4)."""
    assert failures.log.resendable(query) == 0
    assert failures.log.resend(query, failures.now) == Resent(0, 0, ())


def test_a_resend_is_bounded(failures):
    """A resend of very many is done in steps, the first enrolled first (8.4)."""
    assert failures.log.resend(Query(), failures.now, limit=2).count == 2
    assert statuses(failures)["c"] == "error"
    assert failures.log.resend(Query(), failures.now, limit=2).count == 1
    assert failures.log.resend(Query(), failures.now, limit=2).count == 0


def test_two_who_resend_at_once_resend_once(failures):
    """A double click, or two people, give a lead one new set of attempts (8.4)."""
    chosen = numbers(failures, "a", "b", "c")
    with ThreadPoolExecutor(4) as pool:
        counts = pool.map(lambda _: failures.log.resend(chosen, failures.now).count, range(4))
    assert sorted(counts) == [0, 0, 0, 3]
    assert {row.resend for row in failures.rows() if row.lead_id in "abc"} == {1}


def test_a_run_of_another_integration_is_not_marked(failures):
    """Where the task's connection was changed, its new leads are nobody's choice (8.4)."""
    failures.log.begin(RUN, "make", 0, failures.now)
    resend(failures, "a")
    marked = {row.integration: row.chosen for row in failures.rows(tables.run)}
    assert marked == {ZAPIER: True, "make": False}
