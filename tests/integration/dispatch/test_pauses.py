"""A destination that answers one configuration error over and over is paused (Contract 8.6)."""

from datetime import timedelta
from functools import partial

import pytest

from tests.integration.dispatch.conftest import MINUTE, key
from tests.support.receiver import Reply
from zbl_provider.log.model import Status

MANY = list(range(200))
IN_A_ROW = 10


def states(setup):
    """Return how many leads of all runs stand where."""
    return dict(setup.rows("SELECT status, count(*) FROM zbl_delivery GROUP BY status"))


def paused(setup):
    return setup.log.integration("zapier").paused_status


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_ten_refusals_in_a_row_pause(setup, status):
    """The rest stays pending, and the task says what to do and does not wait (8.6)."""
    setup.extra = {"max_concurrency": 4}
    setup.answer(lambda _: Reply(status))
    report = setup.dispatch("run 1", MANY)
    assert IN_A_ROW <= len(setup.sent) < IN_A_ROW + 4
    assert states(setup) == {"error": len(setup.sent), "pending": len(MANY) - len(setup.sent)}
    assert paused(setup) == status
    assert report.due_at is None
    assert report.paused.waiting == len(MANY) - len(setup.sent)
    assert f"answered {status}" in str(report.paused)
    assert "clear this task" in str(report.paused)


@pytest.mark.parametrize("answers", [[401] * 9, [422] * 12, [401, 403] * 8, [401, 401, 200] * 8])
def test_less_than_that_does_not(setup, answers):
    """A few refusals, others, different ones, or a delivery between pause nothing (8.6)."""
    setup.extra = {"max_concurrency": 1}
    left = iter(answers)
    setup.answer(lambda _: Reply(next(left, 200)))
    report = setup.dispatch("run 1", MANY)
    assert (report.paused, paused(setup)) == (None, None)
    assert len(setup.sent) == len(MANY)


def test_no_answer_between_neither_counts_nor_ends_the_row(setup):
    """A destination that is away now and then is no better configured for it (8.6)."""
    setup.extra = {"max_concurrency": 1}
    left = iter([401, 503] * 20)
    setup.answer(lambda _: Reply(next(left)))
    report = setup.dispatch("run 1", MANY)
    assert len(setup.sent) == 2 * IN_A_ROW - 1
    assert report.counts[Status.RETRYING] == IN_A_ROW - 1
    assert report.due_at is None, "the task does not wait for them"
    setup.answer(lambda _: Reply())
    setup.clock.now += timedelta(minutes=1)
    report = setup.dispatch("run 2")
    assert report.counts == {Status.DELIVERED: len(MANY) - IN_A_ROW}


def test_each_further_run_tries_one_lead(setup):
    """While it is refused nothing is hammered: one request a run, and the same message (8.6)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", MANY)
    for n in range(2, 5):
        setup.clock.now += MINUTE
        before = len(setup.sent)
        report = setup.dispatch(f"run {n}")
        assert len(setup.sent) == before + 1
        assert (report.counts, report.due_at) == ({Status.ERROR: 1}, None)
        assert "answered 401" in str(report.paused)
    setup.clock.now += MINUTE
    setup.answer(lambda _: Reply(422))
    assert "answered 422" in str(setup.dispatch("run 5").paused), "only a delivery ends the pause"
    assert paused(setup) == 401


def test_runs_that_follow_each_other_at_once_try_one_lead_a_minute(setup):
    """As with `@continuous`: each waits for its turn, without a worker, and says so (8.6, 3.4)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", MANY)
    before, until = len(setup.sent), setup.clock.now + 10 * MINUTE
    n = 1
    while setup.clock.now < until:
        n += 1
        report = setup.dispatch(f"run {n}", MANY)
        while report.due_at:
            assert report.due_at <= setup.clock.now + MINUTE
            setup.clock.now = report.due_at
            report = setup.dispatch(f"run {n}", resumed=True)
        assert "answered 401" in report.failure("zapier")
    assert len(setup.sent) == before + 11, "the first at once"
    assert n == 12, "and few runs"
    setup.answer(lambda _: Reply())
    failed = len(setup.sent)
    setup.dispatch_to_the_end("last", MANY)
    assert states(setup) == {"error": failed, "delivered": len(MANY) - failed}


def test_who_does_not_wait_leaves_the_turn_to_the_next_run(setup):
    """With `wait_for_retries=False` a run within that minute fails and sends nothing (8.6, 4.7)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", MANY)
    setup.dispatch("run 2")
    before = len(setup.sent)
    report = setup.dispatch("run 3", [1000], wait_for_retries=False)
    assert (len(setup.sent), report.due_at) == (before, None)
    assert "is paused" in report.failure("zapier")


@pytest.mark.parametrize("again", ["a clear", "a resume"])
def test_who_has_mended_it_does_not_wait_for_a_turn(setup, again):
    """A clear tries one lead at once, and a resume sends all (8.6, 3.5)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", MANY)
    failed = setup.dispatch("run 2").counts[Status.ERROR]
    setup.answer(lambda _: Reply())
    if again == "a clear":
        assert setup.dispatch("run 2", epoch=1).counts[Status.DELIVERED] > failed
    else:
        setup.log.resume("zapier")
        setup.dispatch("run 3")
    assert "pending" not in states(setup)


def test_the_next_run_goes_on_once_a_lead_is_delivered(setup):
    """One lead goes first, the longest due; then all that wait, with those found now (8.6)."""
    setup.answer(lambda _: Reply(403))
    setup.dispatch("run 1", MANY)
    refused = set(setup.sent)
    setup.clock.now += timedelta(minutes=5)
    at_once = []
    setup.answer(lambda request: at_once.append(request.lead_id) or Reply(after=0.05))
    report = setup.dispatch("run 2", [1000])
    assert report.paused is None
    assert paused(setup) is None
    assert states(setup) == {"error": len(refused), "delivered": len(MANY) - len(refused) + 1}
    assert int(at_once[0]) == min(set(MANY) - {int(lead_id) for lead_id in refused})


def test_a_clear_tries_one_lead_and_then_sends_those_in_error_too(setup):
    """Nothing is lost: after the fix a clear delivers every lead of the task (4.5 and 8.6)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", MANY)
    before = len(setup.sent)
    report = setup.dispatch("run 1", MANY, epoch=1)
    assert len(setup.sent) == before + 1
    assert "answered 401" in str(report.paused)
    setup.answer(lambda _: Reply())
    report = setup.dispatch("run 1", MANY, epoch=2)
    assert report.counts == {Status.DELIVERED: len(MANY)}
    assert len(setup.sent) == before + 1 + len(MANY)


def test_a_probe_without_an_answer_is_waited_for(setup):
    """The run waits for that lead's next attempts, the rest stays; then it fails (8.6)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", MANY)
    before = len(setup.sent)
    setup.answer(lambda _: Reply(503))
    began = setup.clock.now
    report = setup.dispatch_to_the_end("run 2", [1000])
    assert setup.clock.now == began + timedelta(minutes=51)
    assert [request.lead_id for request in setup.receiver.received[before:]] == (
        [setup.sent[before]] * 5
    ), "one lead, five attempts"
    assert "answered 503" in str(report.paused)
    assert paused(setup) == 401
    setup.clock.now += MINUTE
    setup.answer(lambda _: Reply())
    assert setup.dispatch("run 3").paused is None
    assert set(states(setup)) == {"error", "delivered"}


def test_several_tasks_have_one_probe_at_a_time(setup, together):
    """Tasks of a paused integration take turns: who finds a probe under way waits (8.6)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", MANY)
    before = len(setup.sent)
    setup.answer(lambda _: Reply(401, after=1))
    reports = together(*(partial(setup.dispatch, f"run {n}", MANY) for n in (2, 3, 4)))
    assert len(setup.sent) == before + 1
    assert sum(report.due_at is None for report in reports) == 1
    for report in reports:
        assert report.due_at in {None, setup.clock.now + MINUTE}


def test_a_pause_stops_the_other_tasks_too(setup):
    """A task that is sending when another pauses its integration stops and says so (8.6)."""
    setup.extra = {"max_concurrency": 4}

    def answer(_):
        setup.log.pause("zapier", 410, setup.clock())
        return Reply(after=0.05)

    setup.answer(answer)
    report = setup.dispatch("run 1", list(range(1000)))
    assert "answered 410" in str(report.paused)
    assert report.due_at is None
    assert len(setup.sent) < 500
    assert report.counts[Status.PENDING] == 1000 - len(setup.sent)


def test_a_single_lead_is_its_own_probe(setup):
    """A DispatchLeadOperator tries the paused integration with its lead alone (8.6)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", MANY)
    before = len(setup.sent)
    report = setup.dispatch("run 2", [1000], only_own=True)
    assert setup.sent[before:] == ["1000"]
    assert report.counts == {Status.ERROR: 1}
    assert "answered 401" in str(report.paused)
    setup.answer(lambda _: Reply())
    report = setup.dispatch("run 3", [1001], only_own=True)
    assert setup.sent[before + 1 :] == ["1001"]
    assert (report.counts, report.paused, paused(setup)) == ({Status.DELIVERED: 1}, None, None)


def test_what_is_held_fails_no_task_for_its_pause(setup):
    """A person minds it already, and nothing is tried (8.4, 8.6)."""
    setup.log.pause("zapier", 401, setup.clock())
    setup.log.hold("zapier", "ana", setup.clock())
    report = setup.dispatch("run 1", [1, 2])
    assert "ana" in report.held
    assert (report.paused, report.failure("zapier"), setup.sent) == (None, None, [])


def test_a_resume_sends_all_at_once(setup):
    """Who resumes a paused integration vouches for it: no probe goes first (8.4 and 8.6)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", MANY)
    setup.log.resume("zapier")
    before = len(setup.sent)
    setup.extra = {"max_concurrency": 1}
    setup.dispatch("run 2")
    assert len(setup.sent) == before + IN_A_ROW


def test_a_run_that_waits_for_nothing_is_not_failed_by_a_pause(setup):
    """With nothing to send, a paused integration is no failure (4.7 and 8.6)."""
    setup.log.pause("zapier", 401, setup.clock())
    report = setup.dispatch("run 1", [])
    assert (report.paused, report.due_at) == (None, None)


def test_a_lead_claimed_by_a_lost_worker_holds_up_the_probe_for_its_lease_alone(setup):
    """A probe that died with its worker is made again when its lease is over (6.2 and 8.6)."""
    dead = setup.log.begin(key("dead"), "zapier", 0, setup.clock())
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", MANY)
    claim = partial(setup.log.claim, "zapier", 10, run=dead, probe=True)
    assert len(claim(setup.clock(), 2 * MINUTE)) == 1
    setup.clock.now += MINUTE
    assert claim(setup.clock(), MINUTE) == []
    before = len(setup.sent)
    setup.answer(lambda _: Reply())
    assert setup.dispatch("run 2", [1000]).due_at == setup.clock.now + timedelta(seconds=5)
    assert len(setup.sent) == before
    setup.clock.now += 2 * MINUTE
    assert setup.dispatch("run 2").paused is None
    assert set(states(setup)) == {"error", "delivered"}
