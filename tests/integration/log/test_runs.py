"""A run and its own leads."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tests.integration.log.bench import NOON, delivered, failed, lead
from zbl_provider.log.model import Delivery, Failed, Reopened, RunKey, Status, TaskTry
from zbl_provider.log.storage import tables


def test_a_run_is_one_task_instance(bench):
    """Each mapped task instance minds its own leads; an Airflow retry is the same run (4.5)."""
    keys = [
        RunKey("dag", "task", "run", -1),
        RunKey("dag", "task", "run", 0),
        RunKey("dag", "task", "other", -1),
        RunKey("dag", "other", "run", -1),
        RunKey("other", "task", "run", -1),
    ]
    ids = [bench.log.begin(key, "zapier", 0, bench.now).id for key in keys]
    ids.append(bench.log.begin(keys[0], "make", 0, bench.now).id)
    assert len(set(ids)) == len(keys) + 1
    assert [bench.log.begin(key, "zapier", 0, bench.now).id for key in keys] == ids[:-1]


def test_a_run_begun_twice_at_once_is_one(bench):
    """A task that Airflow starts twice finds the same run."""
    with ThreadPoolExecutor(4) as pool:
        assert len({run.id for run in pool.map(lambda _: bench.run(), range(8))}) == 1


def test_a_run_is_cleared_until_it_was_reopened(bench):
    """A clear that was cut short by a kill is acted on by the next start (4.5, 6.2)."""
    assert not bench.run(epoch=0).cleared
    assert not bench.run(epoch=0).cleared
    cleared = bench.run(epoch=1)
    assert cleared.cleared
    assert bench.run(epoch=1).cleared
    bench.log.reopen(cleared, 1, bench.now)
    assert not bench.run(epoch=1).cleared


def test_a_clear_gives_leads_in_error_new_attempts(bench):
    """After a clear leads in error start at attempt 1; those delivered stay delivered (4.5)."""
    run = bench.run()
    bench.deliver(run, lead("done"))
    bench.fail(run, lead("failed"))
    bench.later(hours=1)
    assert bench.log.reopen(run, 1, bench.now) == Reopened(reopened=1, unsendable=0)
    row = bench.row("failed")
    assert (row.status, row.attempts, row.resend) == (Status.PENDING, 0, 1)
    assert (row.due_at, row.claim, row.reason) == (bench.now, None, None)
    [claimed] = bench.claim(run)
    assert (claimed.lead_id, claimed.attempt, claimed.webhook_id) == ("failed", 1, "msg_failed")
    bench.settle(run, [claimed], delivered())
    numbers = [(row.resend, row.number) for row in bench.rows(tables.attempt)]
    assert numbers == [(0, 1), (0, 1), (1, 1)]


def test_a_clear_is_acted_on_once(bench):
    """An Airflow retry after a clear is not another clear (4.5)."""
    run = bench.run()
    bench.fail(run, lead("a"))
    assert bench.log.reopen(run, 1, bench.now).reopened == 1
    bench.settle(run, bench.claim(run), failed())
    assert bench.log.reopen(run, 1, bench.now) == Reopened(0, 0)
    assert bench.row("a").status == Status.ERROR
    assert bench.log.reopen(run, 2, bench.now).reopened == 1


def test_a_clear_acted_on_twice_at_once_reopens_once(bench):
    """The epoch and the leads change together, or not at all (6.2)."""
    run = bench.run()
    bench.fail(run, *(lead(f"{n}") for n in range(50)))
    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(lambda _: bench.log.reopen(run, 1, bench.now), range(4)))
    assert sorted(one.reopened for one in done) == [0, 0, 0, 50]
    assert {row.resend for row in bench.rows()} == {1}


def test_resend_all_sends_delivered_leads_too(bench):
    """on_clear="resend_all" reopens all that was sent, under the same webhook-id (4.5, 2.3)."""
    run = bench.run()
    bench.deliver(run, lead("done"))
    bench.fail(run, lead("failed"))
    bench.enrol(run, lead("kept", status=Status.FILTERED, reason="r"))
    assert bench.log.reopen(run, 1, bench.now, everything=True) == Reopened(2, 0)
    assert bench.row("done").delivered_at is None
    assert {one.webhook_id for one in bench.claim(run)} == {"msg_done", "msg_failed"}
    assert bench.row("kept").status == Status.FILTERED


def test_a_clear_leaves_what_is_under_way(bench):
    """A lead that another worker is sending right now is not pulled from under it."""
    run = bench.run()
    bench.enrol(run, lead("sending"), lead("retrying"), lead("pending"))
    sending, retrying = bench.claim(run, 2)
    bench.settle(run, [retrying], failed(), NOON + timedelta(seconds=60))
    before = bench.rows()
    assert bench.log.reopen(run, 1, bench.now, everything=True) == Reopened(0, 0)
    assert bench.rows() == before
    assert bench.settle(run, [sending], delivered()) == []


def test_a_clear_reopens_only_the_runs_own(bench):
    """Clearing one task resends its leads and no other's (4.5)."""
    first, second = bench.run("first"), bench.run("second")
    bench.fail(first, lead("a"))
    bench.fail(second, lead("b"))
    assert bench.log.reopen(second, 1, bench.now).reopened == 1
    assert bench.row("a").status == Status.ERROR


def test_a_clear_reopens_what_the_run_took_on(bench):
    """A lead that a run claimed for another is resent by clearing either (4.5, 4.6)."""
    first, second = bench.run("first"), bench.run("second")
    bench.enrol(first, lead("a"))
    bench.settle(second, bench.claim(second), failed())
    assert bench.log.reopen(second, 1, bench.now).reopened == 1
    bench.settle(second, bench.claim(second), failed())
    assert bench.log.reopen(first, 1, bench.now).reopened == 1


def test_what_was_cleared_from_the_log_cannot_be_resent(bench):
    """A delivered lead whose payload is gone stays delivered, and is counted (6.4)."""
    run = bench.run()
    bench.deliver(run, lead("old"))
    bench.later(days=31)
    bench.deliver(run, lead("young"))
    assert bench.log.purge_payloads(bench.now, timedelta(days=30)) == 1
    assert bench.log.reopen(run, 1, bench.now, everything=True) == Reopened(1, 1)
    assert bench.row("old").status == Status.DELIVERED


@pytest.fixture
def joined(bench):
    """Two runs: the second has leads of its own and took on some of the first's."""
    first, second = bench.run("first"), bench.run("second")
    bench.enrol(first, lead("shared"), lead("not shared"))
    bench.enrol(second, lead("own"), lead("shared"), lead("bad", status=Status.INVALID, reason="r"))
    return first, second


def test_counts_are_of_the_runs_own_leads(bench, joined):
    """A run counts what it enrolled and what it took on, each once (4.3, 4.7)."""
    first, second = joined
    assert bench.log.counts(first) == {Status.PENDING: 2}
    assert bench.log.counts(second) == {Status.PENDING: 2, Status.INVALID: 1}


def test_what_failed_is_named_first_enrolled_first(bench, joined):
    """The task's message names the first leads in error or invalid (4.7)."""
    first, second = joined
    bench.settle(first, bench.claim(first, only_own=True), failed())
    error = Failed("shared", Status.ERROR, "no answer in 10 s")
    invalid = Failed("bad", Status.INVALID, "r")
    assert bench.log.first_failed(second) == [error, invalid]
    assert bench.log.first_failed(second, limit=1) == [error]
    assert [one.lead_id for one in bench.log.first_failed(first)] == ["shared", "not shared"]


def test_one_lead_is_found_by_its_webhook_id(bench):
    """The summary of a single lead is its status, attempts and last status code (4.3)."""
    run = bench.run()
    bench.deliver(run, lead("done"))
    bench.fail(run, lead("failed"))
    assert bench.log.find("msg_done") == Delivery(Status.DELIVERED, None, 1, 200)
    assert bench.log.find("msg_failed") == Delivery(Status.ERROR, "no answer in 10 s", 1, None)
    assert bench.log.find("msg_unknown") is None


def test_next_due_is_the_first_of_the_runs_own(bench, joined):
    """A task defers until the first of its own leads needs somebody (3.4)."""
    first, second = joined
    assert bench.log.next_due(second) == NOON
    shared, *others = bench.claim(first)
    assert bench.log.next_due(second) == NOON + timedelta(seconds=60)  # the lease
    bench.settle(first, [shared], failed(), NOON + timedelta(seconds=30))
    assert bench.log.next_due(second) == NOON + timedelta(seconds=30)
    assert bench.log.next_due(first) == NOON + timedelta(seconds=30)
    bench.settle(first, others, delivered())
    bench.later(seconds=30)
    bench.settle(second, bench.claim(second), delivered())
    assert bench.log.next_due(first) is None
    assert bench.log.next_due(second) is None


def begin(bench, number, *, epoch=2, retries=2, name=None):
    """Begin the run in a try of its task."""
    task_try = TaskTry(name or f"try {number}", number, retries)
    return bench.log.begin(RunKey("dag", "task", "run"), "zapier", epoch, bench.now, task_try)


def test_a_retry_and_a_return_from_a_wait_are_no_clear(bench):
    """The run goes on where it was, and so it does when Airflow did not hear of its end (4.10)."""
    assert not begin(bench, 1).cleared
    assert not begin(bench, 1).cleared, "back from a wait"
    retried = begin(bench, 2)
    assert not retried.cleared
    bench.log.end(retried, bench.now)
    assert not begin(bench, 2).cleared
    assert not begin(bench, 3).cleared, "its end was not heard"


def test_what_runs_after_the_end_is_a_clear(bench):
    """Airflow sets `max_tries` to the last try plus `retries`, which may be what it was (4.10)."""
    bench.fail(begin(bench, 1), lead("a"))
    bench.log.end(begin(bench, 1), bench.now)
    assert begin(bench, 2, retries=1).cleared
    killed = begin(bench, 3, retries=1)
    assert killed.cleared, "until somebody acts on it"
    assert bench.log.reopen(killed, 2, bench.now).reopened == 1
    assert bench.log.reopen(killed, 2, bench.now) == Reopened(0, 0)
    assert not begin(bench, 3, retries=1).cleared
    assert not begin(bench, 4, retries=1).cleared


def test_a_run_deleted_and_made_anew_is_cleared(bench):
    """Its tries begin again at one, whether it had ended or not (4.10)."""
    assert not begin(bench, 1).cleared
    anew = begin(bench, 1, name="another")
    assert anew.cleared
    bench.log.reopen(anew, 2, bench.now)
    assert not begin(bench, 1, name="another").cleared


def test_a_worker_that_was_replaced_cannot_end_the_run(bench):
    """What a lost worker says late of its try is no end of the one that runs (4.10)."""
    lost = begin(bench, 1)
    begin(bench, 2)
    bench.log.end(lost, bench.now)
    assert not begin(bench, 3, retries=0).cleared


def test_a_run_without_a_try_is_cleared_after_its_end(bench):
    """Whoever gives no try, as a run of an older version, is judged by the end alone (4.10)."""
    bench.log.end(bench.run(), bench.now)
    assert bench.run().cleared
