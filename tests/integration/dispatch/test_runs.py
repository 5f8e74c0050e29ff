"""Runs that overlap, die, are cleared or held (Contract 4)."""

import os
import signal
import threading
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from tests.integration.dispatch.conftest import key, lead
from tests.support.receiver import Reply
from zbl_provider.dispatch.intake import read_one
from zbl_provider.exceptions import DispatchStopped
from zbl_provider.log.model import Status


def test_overlapping_runs_deliver_each_lead_once(bench):
    """A lead delivered by one run is skipped by the next (Contract 4.4)."""
    bench.dispatch("run 1", [1, 2, 3])
    report = bench.dispatch("run 2", [2, 3, 4])
    assert sorted(bench.sent) == ["1", "2", "3", "4"]
    assert report.counts == {Status.DELIVERED: 1}
    assert report.skipped == 2


def test_those_who_mean_it_send_again_and_a_retry_does_not_repeat_it(bench):
    """`if_delivered="send"` sends once a run, under the same webhook-id (Contract 4.4 and 4.5)."""
    bench.dispatch("run 1", [1])
    for _ in range(2):  # the second is an Airflow retry of the same run
        bench.dispatch("run 2", [1], resend_delivered=True)
    assert bench.sent == ["1", "1"]
    assert len({request.webhook_id for request in bench.receiver.received}) == 1


def test_two_tasks_at_once_never_send_the_same_lead_twice(bench, together):
    """Two tasks with the same leads share them out, and each minds all of them (Contract 4.6)."""
    bench.answer(lambda _: Reply(after=0.02))
    leads = list(range(60))
    together(
        partial(bench.dispatch, "run 1", leads),
        partial(bench.dispatch, "run 2", leads),
    )
    assert sorted(map(int, bench.sent)) == leads
    for run in ("run 1", "run 2"):
        report = bench.dispatch_to_the_end(run, leads)
        assert set(report.counts) <= {Status.DELIVERED}
    assert len(bench.sent) == 60


def test_a_task_waits_for_leads_that_another_has_claimed(bench):
    """What another task is sending is not sent again but waited for (Contract 4.6)."""
    other = bench.log.begin(key("run 1"), "zapier", 0, bench.clock())
    bench.answer(lambda _: Reply(503))
    bench.dispatch("run 1", [1])
    bench.answer(lambda _: Reply())
    bench.clock.now += timedelta(minutes=1)
    (claimed,) = bench.log.claim("zapier", 10, bench.clock(), timedelta(minutes=1), run=other)
    report = bench.dispatch("run 2", [1])
    assert report.counts == {Status.SENDING: 1}
    assert bench.clock.now < report.due_at < claimed.lease_until
    assert len(bench.sent) == 1


def test_a_lead_in_flight_at_a_kill_goes_out_again_when_its_lease_is_over(bench):
    """Nothing is lost with a worker, and that costs no attempt (Contract 3.2 and 6.2)."""
    dead = bench.log.begin(key("run 1"), "zapier", 0, bench.clock())
    bench.answer(lambda _: Reply(503))
    bench.dispatch("run 1", [1], wait_for_retries=False)
    bench.clock.now += timedelta(minutes=1)
    bench.log.claim("zapier", 10, bench.clock(), timedelta(minutes=1), run=dead)
    bench.answer(lambda _: Reply())
    bench.clock.now += timedelta(seconds=61)
    assert bench.dispatch("run 2").counts == {Status.DELIVERED: 1}
    assert bench.rows("SELECT number FROM zbl_attempt ORDER BY number") == [(1,), (2,)]


def test_a_run_drains_what_others_left(bench):
    """Leads enrolled by a run that died go out with the next one (Contract 4.6)."""
    bench.extra = {"active": False}
    bench.dispatch("run 1", [1, 2])
    bench.extra = {}
    report = bench.dispatch("run 2", [3])
    assert sorted(bench.sent) == ["1", "2", "3"]
    assert report.counts == {Status.DELIVERED: 3}


def test_a_single_lead_minds_its_own(bench):
    """A DispatchLeadOperator leaves alone what is not its own (Contract 4.6)."""
    bench.extra = {"active": False}
    bench.dispatch("run 1", [1])
    bench.extra = {}
    bench.dispatch("run 2", [2], only_own=True)
    assert bench.sent == ["2"]


def test_an_inactive_integration_holds_its_leads(bench):
    """`active` false: recorded, not sent, and sent when it is true again (Contract 1.2)."""
    bench.extra = {"active": False}
    report = bench.dispatch("run 1", [1])
    assert report.held
    assert report.due_at is None
    assert report.counts == {Status.PENDING: 1}
    assert bench.sent == []
    # A single lead has no other task to send it: its own looks again.
    assert bench.dispatch("run 2", [2], only_own=True).due_at > bench.clock.now
    bench.extra = {}
    assert bench.dispatch("run 2", only_own=True).counts == {Status.DELIVERED: 1}
    assert bench.sent == ["2"]


def test_a_clear_sends_the_failed_leads_again_with_five_new_attempts(bench):
    """After a clear only what is in error goes again, under its webhook-id (Contract 4.5)."""
    bench.answer(lambda request: Reply(500 if request.lead_id == "2" else 200))
    bench.dispatch_to_the_end("run 1", [1, 2])
    assert len(bench.sent) == 6
    report = bench.dispatch_to_the_end("run 1", [1, 2], epoch=1)
    assert report.counts == {Status.DELIVERED: 1, Status.ERROR: 1}
    assert bench.sent.count("1") == 1
    assert bench.sent.count("2") == 10
    assert len({one.webhook_id for one in bench.receiver.received if one.lead_id == "2"}) == 1


def test_an_airflow_retry_is_not_a_clear(bench):
    """The same task instance, tried again by Airflow, adds no attempt (Contract 3.2 and 4.5)."""
    bench.answer(lambda _: Reply(401))
    bench.dispatch("run 1", [1])
    report = bench.dispatch("run 1", [1])
    assert len(bench.sent) == 1
    assert report.counts == {Status.ERROR: 1}


def test_a_clear_can_send_everything_again(bench):
    """`on_clear="resend_all"` sends delivered leads too, once a clear (Contract 4.5)."""
    bench.dispatch("run 1", [1, 2])
    bench.dispatch("run 1", [1, 2], epoch=1, resend_all=True)
    bench.dispatch("run 1", [1, 2], epoch=1, resend_all=True)
    assert sorted(bench.sent) == ["1", "1", "2", "2"]


def test_a_clear_sends_what_the_row_says_now(bench):
    """What was corrected in the row is what a resend sends (Contract 4.5)."""
    bench.answer(lambda _: Reply(422))
    bench.dispatch("run 1", [lead(1, phone="wrong")])
    bench.answer(lambda _: Reply())
    bench.dispatch("run 1", [lead(1, phone="right")], epoch=1)
    assert b"wrong" in bench.receiver.received[0].body
    assert b"right" in bench.receiver.received[1].body


def test_a_resend_after_the_payload_was_cleared_takes_it_from_the_row(bench):
    """Retention does not stand in the way of a clear while the row is there (4.5 and 6.4)."""
    bench.dispatch("run 1", [1, 2])
    later = bench.clock.now + timedelta(days=31)
    assert bench.log.purge_payloads(later, timedelta(days=30)) == 2
    report = bench.dispatch("run 1", [1], epoch=1, resend_all=True)
    assert bench.sent[2:] == ["1"]
    assert report.counts == {Status.DELIVERED: 2}


def test_an_error_of_an_earlier_run_waits_for_its_clear(bench):
    """A look-back that finds a lead in error neither sends it nor fails for it (Contract 4.5)."""
    bench.answer(lambda _: Reply(401))
    bench.dispatch("run 1", [1])
    report = bench.dispatch("run 2", [1])
    assert len(bench.sent) == 1
    assert (report.counts, report.skipped, report.failed) == ({}, 1, ())


def test_who_asks_for_one_lead_again_after_an_error_gets_new_attempts(bench):
    """Another run for a single lead in error sends it; its own Airflow retry does not (4.6)."""
    bench.answer(lambda _: Reply(401))
    bench.dispatch("run 1", [1], only_own=True)
    bench.dispatch("run 2", [1], only_own=True)
    bench.dispatch("run 2", [1], only_own=True)
    assert len(bench.sent) == 2
    assert bench.rows("SELECT resend, number FROM zbl_attempt ORDER BY id") == [(0, 1), (1, 1)]


def test_bad_leads_never_stop_the_others(bench):
    """Invalid, unqualified and filtered leads are recorded with the reason (4.2, 5.4, 5.5)."""
    bench.extra = {"min_score": 50}
    found = [
        lead(1, score=80),
        lead(2, score=20),
        lead(3, score=90, status="new"),
        lead(4, score=90, email="no-address"),
        lead(5, score=90),
    ]
    report = bench.dispatch("run 1", found)
    assert sorted(bench.sent) == ["1", "5"]
    assert report.counts == {Status.DELIVERED: 2, Status.FILTERED: 2, Status.INVALID: 1}
    assert [failed.lead_id for failed in report.failed] == ["4"]
    reasons = dict(bench.rows("SELECT lead_id, reason FROM zbl_delivery"))
    assert "min_score" in reasons["2"]
    assert "status" in reasons["3"]
    assert "lead.email" in reasons["4"]
    assert "no-address" not in reasons["4"]


def test_a_filtered_lead_goes_out_when_the_filter_has_changed(bench):
    """What was kept back is looked at again by a later run (Contract 5.4)."""
    bench.extra = {"min_score": 50}
    bench.dispatch("run 1", [lead(1, score=20)])
    bench.extra = {"min_score": 10}
    assert bench.dispatch("run 2", [lead(1, score=20)]).counts == {Status.DELIVERED: 1}


def test_an_invalid_lead_fails_only_the_run_that_found_it_so(bench):
    """It is looked at again when the row has changed, and not before (Contract 5.5)."""
    bad = lead(1, email="no-address")
    assert bench.dispatch("run 1", [bad]).counts == {Status.INVALID: 1}
    assert bench.dispatch("run 2", [bad]).counts == {}
    assert bench.dispatch("run 3", [lead(1)]).counts == {Status.DELIVERED: 1}


def test_a_source_that_fails_half_way_fails_the_task_after_what_it_gave_is_sent(bench):
    """A query that breaks loses nothing that it has found (Contract 4.2 and 6.2)."""

    def source():
        yield from (lead(number) for number in range(300))
        raise OSError("the database went away")

    with pytest.raises(OSError, match="went away"):
        bench.dispatcher().dispatch(key("run 1"), 0, source())
    assert len(bench.sent) == 300
    assert bench.dispatch("run 1", list(range(310))).counts == {Status.DELIVERED: 310}
    assert len(bench.sent) == 310


def test_a_log_that_goes_away_fails_the_task_for_airflow_to_retry(bench, monkeypatch):
    """A broken log raises its own error, and what was not settled is sent again later (6.2)."""

    def broken(*_):
        raise OSError("the log went away")

    monkeypatch.setattr(bench.log, "settle", broken)
    with pytest.raises(OSError, match="log went away"):
        bench.dispatch("run 1", [1, 2])
    monkeypatch.undo()
    bench.clock.now += timedelta(minutes=2)
    assert bench.dispatch("run 1", [1, 2]).counts == {Status.DELIVERED: 2}
    ids = {request.webhook_id for request in bench.receiver.received}
    assert len(ids) == 2


class TaskTimeout(BaseException):
    """What Airflow's signal handler raises at the end of `execution_timeout`."""


@pytest.fixture
def timeout():
    """Give a function that ends the task as `execution_timeout` does."""

    def raise_timeout(*_):
        raise TaskTimeout

    before = signal.signal(signal.SIGUSR1, raise_timeout)
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    signal.signal(signal.SIGUSR1, before)


def test_what_a_signal_raises_ends_the_task_and_loses_nothing(bench, timeout):
    """Airflow ends a task for its `execution_timeout` so; the next try goes on (Contract 6.2)."""
    first = threading.Lock()

    def answer(_):
        if first.acquire(blocking=False):
            timeout()
        return Reply(after=0.1)

    bench.answer(answer)
    with pytest.raises(TaskTimeout):
        bench.dispatch("run 1", list(range(200)))
    assert len(bench.sent) < 100
    bench.clock.now += timedelta(minutes=2)
    assert bench.dispatch("run 1", list(range(200))).counts == {Status.DELIVERED: 200}


def test_who_observes_is_told_of_each_attempt_once(bench, timeout, monkeypatch):
    """The last ones count, too, when Airflow ends the task before they are settled (8.3)."""
    monkeypatch.setattr("zbl_provider.dispatch.outcome_writer._LONELY_SECONDS", 60)
    observed = []

    def answer(request):
        if request.lead_id == "10":
            timeout()
            return Reply(after=9)
        return Reply()

    bench.answer(answer)
    bench.extra = {"max_concurrency": 1}
    dispatcher = bench.dispatcher()
    dispatcher.observe = observed.extend
    with pytest.raises(TaskTimeout):
        dispatcher.dispatch(key("run 1"), 0, [lead(number) for number in range(1, 21)])
    ((recorded,),) = bench.rows("SELECT count(*) FROM zbl_attempt")
    assert len(observed) == recorded > 0


def test_an_outcome_that_waits_for_others_is_known_when_the_task_ends(bench, timeout, monkeypatch):
    """A lead that was answered is not sent twice for an end before it was settled (6.2)."""
    monkeypatch.setattr("zbl_provider.dispatch.outcome_writer._LONELY_SECONDS", 60)

    first = threading.Lock()

    def answer(_):
        if first.acquire(blocking=False):
            threading.Timer(2, timeout).start()
            return Reply()
        return Reply(after=9)  # as long as it is out, there may be more to wait for

    bench.answer(answer)
    with pytest.raises(TaskTimeout):
        bench.dispatch("run 1", [1, 2])
    assert ("delivered", 1) in bench.rows("SELECT status, attempts FROM zbl_delivery")


def test_a_query_that_hangs_does_not_outlast_the_task(bench, timeout):
    """What a signal raises does not wait for the leads' database to answer (6.2)."""
    ended = threading.Event()
    waited_for = []

    def found():
        yield lead(1)
        threading.Timer(2, timeout).start()
        waited_for.append(not ended.wait(30))

    try:
        with pytest.raises(TaskTimeout):
            bench.dispatcher().dispatch(key("run 1"), 0, found())
        assert waited_for == []
    finally:
        ended.set()


def test_a_task_that_was_given_another_connection_minds_its_leads_there(bench):
    """It neither waits for its leads of the old one for ever nor fails for them (4.5, 4.7)."""
    bench.answer(lambda _: Reply(401))
    bench.dispatch("run 1", [1])
    bench.answer(lambda _: Reply())
    mended = bench.dispatcher()
    mended.destination = replace(mended.destination, integration="make")
    report = mended.dispatch(key("run 1"), 1, [lead(1)])
    assert (report.counts, report.due_at) == ({Status.DELIVERED: 1}, None)
    first, second = bench.receiver.received
    assert first.webhook_id != second.webhook_id


def test_a_clear_of_one_lead_sends_it_whoever_delivered_it(bench):
    """Where the task is the lead, its clear sends it again, once (Contract 4.5)."""
    one = {"only_own": True, "resend_all": True}
    bench.dispatch("run 1", [1], **one)
    assert bench.dispatch("run 2", [1], **one).skipped == 1
    for _ in range(2):  # the second is an Airflow retry
        bench.dispatch("run 2", [1], epoch=1, **one)
    assert bench.sent == ["1", "1"]
    bench.dispatch("run 3", [1], only_own=True)
    bench.dispatch("run 3", [1], epoch=1, only_own=True)
    assert len(bench.sent) == 2, "on_clear='resend_errors' leaves it"


def test_a_cleared_task_fails_no_more_for_invalid_leads_that_are_gone(bench):
    """An invalid row that was deleted, or got the id it lacked, lets the clear succeed (4.5)."""
    without_id = read_one({"email": "1@example.com"})
    report = bench.dispatch("run 1", [without_id, lead(2, email="no-address"), lead(3)])
    assert report.counts == {Status.INVALID: 2, Status.DELIVERED: 1}
    report = bench.dispatch("run 1", [lead(1), lead(2, email="no-address")], epoch=1)
    assert [failed.lead_id for failed in report.failed] == ["2"]
    report = bench.dispatch("run 1", [lead(1), lead(2)], epoch=2)
    assert report.failed == ()
    assert sorted(bench.sent) == ["1", "2", "3"]


def test_a_lead_that_is_due_and_cannot_be_had_is_waited_for_with_patience(bench, monkeypatch):
    """A task that finds its lead due, but taken, looks again in seconds, not at once (4.6)."""
    due = bench.clock.now - timedelta(seconds=1)
    monkeypatch.setattr(bench.log, "next_due", lambda _: due)
    report = bench.dispatch("run 1", [1])
    assert report.due_at == bench.clock.now + timedelta(seconds=5)


def test_a_clear_says_which_leads_it_cannot_send_again(bench, caplog):
    """A payload that retention cleared, and a row that is gone, are counted (4.5, 6.4)."""
    bench.dispatch("run 1", [1, 2])
    bench.log.purge_payloads(bench.clock.now + timedelta(days=31), timedelta(days=30))
    bench.dispatch("run 1", [1], epoch=1, resend_all=True)
    assert "1 leads can't be sent again" in caplog.text


def test_what_was_claimed_and_not_sent_is_given_back(bench, monkeypatch):
    """A task that breaks keeps nobody waiting for leases of leads that it never sent (4.6, 6.2)."""

    def broken(*_):
        raise OSError("the log went away")

    bench.extra = {"max_concurrency": 1}
    bench.answer(lambda _: Reply(after=0.02))
    monkeypatch.setattr(bench.log, "settle", broken)
    with pytest.raises(OSError, match="log went away"):
        bench.dispatch("run 1", list(range(100)))
    counts = dict(bench.rows("SELECT status, count(*) FROM zbl_delivery GROUP BY status"))
    assert counts["pending"] > 50
    assert counts["sending"] <= len(bench.sent) + 1


def test_a_lead_is_not_sent_under_a_lease_that_is_nearly_over(bench, monkeypatch):
    """Another worker could claim it while it is under way: it is given back first (4.6)."""
    released = []
    release = bench.log.release
    monkeypatch.setattr(
        bench.log, "release", lambda claimed, now: (released.extend(claimed), release(claimed, now))
    )

    def answer(request):
        if request.lead_id == "1":
            bench.clock.now += timedelta(seconds=50)
        return Reply()

    bench.extra = {"max_concurrency": 1}
    bench.answer(answer)
    assert bench.dispatch("run 1", [1, 2]).counts == {Status.DELIVERED: 2}
    assert [claimed.lead_id for claimed in released] == ["2"]
    assert bench.sent == ["1", "2"]


def test_an_outcome_that_comes_after_its_lease_is_said_and_not_written(bench, caplog):
    """Whoever claimed the lead meanwhile writes down what becomes of it (Contract 4.6, 6.2)."""
    other = bench.log.begin(key("run 2"), "zapier", 0, bench.clock())

    def answer(_):
        bench.clock.now += timedelta(minutes=2)
        bench.log.claim("zapier", 10, bench.clock(), timedelta(minutes=1), run=other)
        return Reply()

    bench.answer(answer)
    assert bench.dispatch("run 1", [1]).counts == {Status.SENDING: 1}
    assert "1 outcomes came after their leases had run out" in caplog.text
    assert bench.rows("SELECT * FROM zbl_attempt") == []


def test_a_task_that_airflow_ends_settles_what_is_in_flight_and_gives_back_the_rest(bench):
    """Stopped in the middle, it leaves nothing in doubt: no lead goes out twice for it (6.2)."""
    dispatcher = bench.dispatcher()

    def answer(_):
        dispatcher.stop()
        return Reply(after=0.05)

    bench.answer(answer)
    report = dispatcher.dispatch(key("run 1"), 0, [lead(number) for number in range(50)])
    assert 0 < len(bench.sent) < 50
    assert report.counts[Status.DELIVERED] == len(bench.sent)
    assert Status.SENDING not in report.counts
    bench.answer(lambda _: Reply())
    assert bench.dispatch("run 1", list(range(50))).counts == {Status.DELIVERED: 50}
    assert len(bench.sent) == 50


def test_a_task_that_airflow_ends_while_its_query_is_read_does_not_succeed(bench):
    """What it had not read would never be found again: a retry has to go on (3.2, 6.2)."""
    dispatcher = bench.dispatcher()
    stopped = threading.Event()

    def answer(_):
        dispatcher.stop()
        stopped.set()
        return Reply()

    def found():
        yield from map(lead, range(500))
        stopped.wait(30)
        yield lead(500)

    bench.answer(answer)
    with pytest.raises(DispatchStopped):
        dispatcher.dispatch(key("run 1"), 0, found())
    assert bench.dispatch("run 1", list(range(501))).counts == {Status.DELIVERED: 501}
    assert len(bench.sent) == 501


def test_a_task_that_airflow_ends_before_it_sends_sends_nothing(bench):
    """A cleared task reads its query first, and may be ended meanwhile (4.5, 6.2)."""
    bench.dispatch("run 1", [1])
    dispatcher = bench.dispatcher()

    def found():
        dispatcher.stop()
        yield lead(2)

    report = dispatcher.dispatch(key("run 1"), 1, found())
    assert report.counts == {Status.DELIVERED: 1, Status.PENDING: 1}
    assert bench.sent == ["1"]
    bench.clock.now = report.due_at
    assert bench.dispatch("run 1", epoch=1).counts == {Status.DELIVERED: 2}
