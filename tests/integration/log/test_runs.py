"""A run and its own leads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.integration.log.setup import NOON, delivered, failed, lead
from zbl_provider.log.model import Delivery, Failed, Reopened, RunKey, Status, TaskTry
from zbl_provider.log.storage import tables


def test_a_run_is_one_task_instance(setup):
    """Each mapped task instance minds its own leads; an Airflow retry is the same run (4.5)."""
    keys = [
        RunKey("dag", "task", "run", -1),
        RunKey("dag", "task", "run", 0),
        RunKey("dag", "task", "other", -1),
        RunKey("dag", "other", "run", -1),
        RunKey("other", "task", "run", -1),
    ]
    ids = [setup.log.begin(key, "zapier", 0, setup.now).id for key in keys]
    ids.append(setup.log.begin(keys[0], "make", 0, setup.now).id)
    assert len(set(ids)) == len(keys) + 1
    assert [setup.log.begin(key, "zapier", 0, setup.now).id for key in keys] == ids[:-1]


def test_a_run_begun_twice_at_once_is_one(setup):
    """A task that Airflow starts twice finds the same run."""
    with ThreadPoolExecutor(4) as pool:
        assert len({run.id for run in pool.map(lambda _: setup.run(), range(8))}) == 1


def test_a_run_is_cleared_until_it_was_reopened(setup):
    """A clear that was cut short by a kill is acted on by the next start (4.5, 6.2)."""
    assert not setup.run(epoch=0).cleared
    assert not setup.run(epoch=0).cleared
    cleared = setup.run(epoch=1)
    assert cleared.cleared
    assert setup.run(epoch=1).cleared
    setup.log.reopen(cleared, 1, setup.now)
    assert not setup.run(epoch=1).cleared


def test_a_clear_gives_leads_in_error_new_attempts(setup):
    """After a clear leads in error start at attempt 1; those delivered stay delivered (4.5)."""
    run = setup.run()
    setup.deliver(run, lead("done"))
    setup.fail(run, lead("failed"))
    setup.later(hours=1)
    assert setup.log.reopen(run, 1, setup.now) == Reopened(reopened=1, unsendable=0)
    row = setup.row("failed")
    assert (row.status, row.attempts, row.resend) == (Status.PENDING, 0, 1)
    assert (row.due_at, row.claim, row.reason) == (setup.now, None, None)
    [claimed] = setup.claim(run)
    assert (claimed.lead_id, claimed.attempt, claimed.webhook_id) == ("failed", 1, "msg_failed")
    setup.settle(run, [claimed], delivered())
    numbers = [(row.resend, row.number) for row in setup.rows(tables.attempt)]
    assert numbers == [(0, 1), (0, 1), (1, 1)]


def test_a_clear_is_acted_on_once(setup):
    """An Airflow retry after a clear is not another clear (4.5)."""
    run = setup.run()
    setup.fail(run, lead("a"))
    assert setup.log.reopen(run, 1, setup.now).reopened == 1
    setup.settle(run, setup.claim(run), failed())
    assert setup.log.reopen(run, 1, setup.now) == Reopened(0, 0)
    assert setup.row("a").status == Status.ERROR
    assert setup.log.reopen(run, 2, setup.now).reopened == 1


def test_a_clear_acted_on_twice_at_once_reopens_once(setup):
    """The epoch and the leads change together, or not at all (6.2)."""
    run = setup.run()
    setup.fail(run, *(lead(f"{n}") for n in range(50)))
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: setup.log.reopen(run, 1, setup.now), range(4)))
    assert sorted(begun.reopened for begun in done) == [0, 0, 0, 50]
    assert {row.resend for row in setup.rows()} == {1}


def test_resend_all_sends_delivered_leads_too(setup):
    """on_clear="resend_all" reopens all that was sent, under the same webhook-id (4.5, 2.3)."""
    run = setup.run()
    setup.deliver(run, lead("done"))
    setup.fail(run, lead("failed"))
    setup.enrol(run, lead("kept", status=Status.FILTERED, reason="r"))
    assert setup.log.reopen(run, 1, setup.now, everything=True) == Reopened(2, 0)
    assert setup.row("done").delivered_at is None
    assert {lead.webhook_id for lead in setup.claim(run)} == {"msg_done", "msg_failed"}
    assert setup.row("kept").status == Status.FILTERED


def test_a_clear_leaves_what_is_under_way(setup):
    """A lead that another worker is sending right now is not pulled from under it."""
    run = setup.run()
    setup.enrol(run, lead("sending"), lead("retrying"), lead("pending"))
    sending, retrying = setup.claim(run, 2)
    setup.settle(run, [retrying], failed(), NOON + timedelta(seconds=60))
    before = setup.row(sending.lead_id), setup.row("pending")
    assert setup.log.reopen(run, 1, setup.now, everything=True) == Reopened(0, 0, hastened=1)
    assert (setup.row(sending.lead_id), setup.row("pending")) == before
    assert setup.settle(run, [sending], delivered()) == []


def test_a_clear_has_waiting_leads_due_now(setup):
    """Who clears a task does not wait for its next attempt; those made still count (3.5)."""
    run, other = setup.run(), setup.run("other")
    for owner, lead_id in ((run, "a"), (other, "b")):
        setup.enrol(owner, lead(lead_id))
        setup.settle(owner, setup.claim(owner), failed(), NOON + timedelta(minutes=30))
    assert setup.log.reopen(run, 1, setup.now) == Reopened(0, 0, hastened=1)
    [claimed] = setup.claim(run)
    assert (claimed.lead_id, claimed.attempt) == ("a", 2)
    assert setup.row("b").due_at == NOON + timedelta(minutes=30), "another task's"


def test_a_clear_reopens_only_the_runs_own(setup):
    """Clearing one task resends its leads and no other's (4.5)."""
    first, second = setup.run("first"), setup.run("second")
    setup.fail(first, lead("a"))
    setup.fail(second, lead("b"))
    assert setup.log.reopen(second, 1, setup.now).reopened == 1
    assert setup.row("a").status == Status.ERROR


def test_a_clear_reopens_what_the_run_took_on(setup):
    """A lead that a run claimed for another is resent by clearing either (4.5, 4.6)."""
    first, second = setup.run("first"), setup.run("second")
    setup.enrol(first, lead("a"))
    setup.settle(second, setup.claim(second), failed())
    assert setup.log.reopen(second, 1, setup.now).reopened == 1
    setup.settle(second, setup.claim(second), failed())
    assert setup.log.reopen(first, 1, setup.now).reopened == 1


def test_what_was_cleared_from_the_log_cannot_be_resent(setup):
    """A delivered lead whose payload is gone stays delivered, and is counted (6.4)."""
    run = setup.run()
    setup.deliver(run, lead("old"))
    setup.later(days=31)
    setup.deliver(run, lead("young"))
    assert setup.log.purge_payloads(setup.now, timedelta(days=30)) == 1
    assert setup.log.reopen(run, 1, setup.now, everything=True) == Reopened(1, 1)
    assert setup.row("old").status == Status.DELIVERED


@pytest.fixture
def joined(setup):
    """Two runs: the second has leads of its own and took on some of the first's."""
    first, second = setup.run("first"), setup.run("second")
    setup.enrol(first, lead("shared"), lead("not shared"))
    setup.enrol(second, lead("own"), lead("shared"), lead("bad", status=Status.INVALID, reason="r"))
    return first, second


def test_counts_are_of_the_runs_own_leads(setup, joined):
    """A run counts what it enrolled and what it took on, each once (4.3, 4.7)."""
    first, second = joined
    assert setup.log.counts(first) == {Status.PENDING: 2}
    assert setup.log.counts(second) == {Status.PENDING: 2, Status.INVALID: 1}


def test_what_failed_is_named_first_enrolled_first(setup, joined):
    """The task's message names the first leads in error or invalid (4.7)."""
    first, second = joined
    setup.settle(first, setup.claim(first, only_own=True), failed())
    error = Failed("shared", Status.ERROR, "no answer in 10 s")
    invalid = Failed("bad", Status.INVALID, "r")
    assert setup.log.first_failed(second) == [error, invalid]
    assert setup.log.first_failed(second, limit=1) == [error]
    assert [lead.lead_id for lead in setup.log.first_failed(first)] == ["shared", "not shared"]


def test_one_lead_is_found_by_its_webhook_id(setup):
    """The summary of a single lead is its status, attempts and last status code (4.3)."""
    run = setup.run()
    setup.deliver(run, lead("done"))
    setup.fail(run, lead("failed"))
    assert setup.log.find("msg_done") == Delivery(Status.DELIVERED, None, 1, 200)
    assert setup.log.find("msg_failed") == Delivery(Status.ERROR, "no answer in 10 s", 1, None)
    assert setup.log.find("msg_unknown") is None


def test_next_due_is_the_first_of_the_runs_own(setup, joined):
    """A task defers until the first of its own leads needs somebody (3.4)."""
    first, second = joined
    assert setup.log.next_due(second) == NOON
    shared, *others = setup.claim(first)
    assert setup.log.next_due(second) == NOON + timedelta(seconds=60)  # the lease
    setup.settle(first, [shared], failed(), NOON + timedelta(seconds=30))
    assert setup.log.next_due(second) == NOON + timedelta(seconds=30)
    assert setup.log.next_due(first) == NOON + timedelta(seconds=30)
    setup.settle(first, others, delivered())
    setup.later(seconds=30)
    setup.settle(second, setup.claim(second), delivered())
    assert setup.log.next_due(first) is None
    assert setup.log.next_due(second) is None


def begin(setup, try_number, *, epoch=2, retries=2, name=None, started_at=None, clears=0):
    """Begin the run in a try of its task."""
    task_try = TaskTry(name or f"try {try_number}", try_number, retries, started_at, clears)
    return setup.log.begin(RunKey("dag", "task", "run"), "zapier", epoch, setup.now, task_try)


def test_a_retry_and_a_return_from_a_wait_are_no_clear(setup):
    """The run goes on where it was, and so it does when Airflow did not hear of its end (4.10)."""
    assert not begin(setup, 1).cleared
    assert not begin(setup, 1).cleared, "back from a wait"
    retried = begin(setup, 2)
    assert not retried.cleared
    setup.log.end(retried, setup.now)
    assert not begin(setup, 2).cleared
    assert not begin(setup, 3).cleared, "its end was not heard"


def test_what_runs_after_the_end_is_a_clear(setup):
    """Airflow sets `max_tries` to the last try plus `retries`, which may be what it was (4.10)."""
    setup.fail(begin(setup, 1), lead("a"))
    setup.log.end(begin(setup, 1), setup.now)
    assert begin(setup, 2, retries=1).cleared
    killed = begin(setup, 3, retries=1)
    assert killed.cleared, "until somebody acts on it"
    assert setup.log.reopen(killed, 2, setup.now).reopened == 1
    assert setup.log.reopen(killed, 2, setup.now) == Reopened(0, 0)
    assert not begin(setup, 3, retries=1).cleared
    assert not begin(setup, 4, retries=1).cleared


def test_a_run_deleted_and_made_anew_is_cleared(setup):
    """Its tries begin again at one, whether it had ended or not (4.10)."""
    assert not begin(setup, 1).cleared
    anew = begin(setup, 1, name="another")
    assert anew.cleared
    setup.log.reopen(anew, 2, setup.now)
    assert not begin(setup, 1, name="another").cleared


def test_a_lost_worker_leaves_a_run_made_anew_to_the_next_try(setup):
    """Whichever try of it comes to the log, and acts on it, it counts as cleared (4.10, 6.2)."""
    setup.fail(begin(setup, 1, started_at=NOON), lead("a"))
    anew = {"started_at": NOON + timedelta(minutes=1)}
    assert begin(setup, 2, **anew).cleared, "its first try did not come as far"
    assert begin(setup, 3, **anew).cleared, "and its second one was lost"
    assert setup.log.reopen(begin(setup, 3, **anew), 2, setup.now).reopened == 1
    assert not begin(setup, 3, **anew).cleared


def test_a_clear_counts_where_the_run_could_not_tell_of_its_end(setup):
    """Marked while it waited, `retries` lowered, cleared: `max_tries` is the same (4.10)."""
    begin(setup, 1, started_at=NOON)
    later = NOON + timedelta(minutes=1)
    assert begin(setup, 2, retries=1, started_at=later, clears=1).cleared, "the Dag run was over"
    assert begin(setup, 2, retries=1, started_at=NOON, clears=1).cleared, "other tasks still ran"
    assert not begin(setup, 2, retries=1, started_at=NOON).cleared, "no task was cleared"
    assert not begin(setup, 3, retries=2, started_at=NOON, clears=1).cleared, "another one was"


def test_a_clear_counts_that_came_after_a_lost_try(setup):
    """The try that it followed need not have come as far as the log (4.10)."""
    setup.log.end(begin(setup, 1), setup.now)
    assert begin(setup, 3, retries=0).cleared


def test_a_worker_that_was_replaced_cannot_end_the_run(setup):
    """What a lost worker says late of its try is no end of the one that runs (4.10)."""
    lost = begin(setup, 1)
    begin(setup, 2)
    setup.log.end(lost, setup.now)
    assert not begin(setup, 3, retries=0).cleared


def test_a_run_without_a_try_is_cleared_after_its_end(setup):
    """Whoever gives no try, as a run of an older version, is judged by the end alone (4.10)."""
    setup.log.end(setup.run(), setup.now)
    assert setup.run().cleared
