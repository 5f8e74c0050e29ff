"""Runs that overlap, die, are cleared or held (Contract 4)."""

import threading
import time
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from tests.integration.dispatch.conftest import TaskTimeout, key, lead
from tests.support.receiver import Reply
from tests.support.rest import wait_for
from zbl_provider.delivery.exchange import Answer
from zbl_provider.delivery.outcome import classify
from zbl_provider.dispatch.intake import candidate, read_one
from zbl_provider.exceptions import DispatchStopped
from zbl_provider.log.model import Settlement, Status


def test_overlapping_runs_deliver_each_lead_once(setup):
    """A lead delivered by one run is skipped by the next (Contract 4.4)."""
    setup.dispatch("run 1", [1, 2, 3])
    report = setup.dispatch("run 2", [2, 3, 4])
    assert sorted(setup.sent) == ["1", "2", "3", "4"]
    assert report.counts == {Status.DELIVERED: 1}
    assert report.skipped == 2


def test_those_who_mean_it_send_again_and_a_retry_does_not_repeat_it(setup):
    """`if_delivered="send"` sends once a run, under the same webhook-id (Contract 4.4 and 4.5)."""
    setup.dispatch("run 1", [1])
    for _ in range(2):  # the second is an Airflow retry of the same run
        setup.dispatch("run 2", [1], resend_delivered=True)
    assert setup.sent == ["1", "1"]
    assert len({request.webhook_id for request in setup.receiver.received}) == 1


def test_two_tasks_at_once_never_send_the_same_lead_twice(setup, together):
    """Two tasks with the same leads share them out, and each minds all of them (Contract 4.6)."""
    setup.answer(lambda _: Reply(after=0.02))
    leads = list(range(60))
    together(
        partial(setup.dispatch, "run 1", leads),
        partial(setup.dispatch, "run 2", leads),
    )
    assert sorted(map(int, setup.sent)) == leads
    for run in ("run 1", "run 2"):
        report = setup.dispatch_to_the_end(run, leads)
        assert set(report.counts) <= {Status.DELIVERED}
    assert len(setup.sent) == 60


def test_a_task_waits_for_leads_that_another_has_claimed(setup):
    """What another task is sending is not sent again but waited for (Contract 4.6)."""
    other = setup.log.begin(key("run 1"), "zapier", 0, setup.clock())
    setup.answer(lambda _: Reply(503))
    setup.dispatch("run 1", [1])
    setup.answer(lambda _: Reply())
    setup.clock.now += timedelta(minutes=1)
    (claimed,) = setup.log.claim("zapier", 10, setup.clock(), timedelta(minutes=1), run=other)
    report = setup.dispatch("run 2", [1])
    assert report.counts == {Status.SENDING: 1}
    assert setup.clock.now < report.due_at < claimed.lease_until
    assert len(setup.sent) == 1


def test_a_lead_in_flight_at_a_kill_goes_out_again_when_its_lease_is_over(setup):
    """Nothing is lost with a worker, and that costs no attempt (Contract 3.2 and 6.2)."""
    dead = setup.log.begin(key("run 1"), "zapier", 0, setup.clock())
    setup.answer(lambda _: Reply(503))
    setup.dispatch("run 1", [1], wait_for_retries=False)
    setup.clock.now += timedelta(minutes=1)
    setup.log.claim("zapier", 10, setup.clock(), timedelta(minutes=1), run=dead)
    setup.answer(lambda _: Reply())
    setup.clock.now += timedelta(seconds=61)
    assert setup.dispatch("run 2").counts == {Status.DELIVERED: 1}
    assert setup.rows("SELECT number FROM zbl_attempt ORDER BY number") == [(1,), (2,)]


def test_a_run_drains_what_others_left(setup):
    """Leads enrolled by a run that died go out with the next one (Contract 4.6)."""
    setup.extra = {"active": False}
    setup.dispatch("run 1", [1, 2])
    setup.extra = {}
    report = setup.dispatch("run 2", [3])
    assert sorted(setup.sent) == ["1", "2", "3"]
    assert report.counts == {Status.DELIVERED: 3}


def test_a_single_lead_minds_its_own(setup):
    """A DispatchLeadOperator leaves alone what is not its own (Contract 4.6)."""
    setup.extra = {"active": False}
    setup.dispatch("run 1", [1])
    setup.extra = {}
    setup.dispatch("run 2", [2], only_own=True)
    assert setup.sent == ["2"]


def test_an_inactive_integration_holds_its_leads(setup):
    """`active` false: recorded, not sent, and sent when it is true again (Contract 1.2)."""
    setup.extra = {"active": False}
    report = setup.dispatch("run 1", [1])
    assert report.held
    assert report.due_at is None
    assert report.counts == {Status.PENDING: 1}
    assert setup.sent == []
    # A single lead has no other task to send it: its own waits.
    assert setup.dispatch("run 2", [2], only_own=True).kept_back
    setup.extra = {}
    assert setup.dispatch("run 2", only_own=True).counts == {Status.DELIVERED: 1}
    assert setup.sent == ["2"]


def test_a_clear_sends_the_failed_leads_again_with_five_new_attempts(setup):
    """After a clear only what is in error goes again, under its webhook-id (Contract 4.5)."""
    setup.answer(lambda request: Reply(500 if request.lead_id == "2" else 200))
    setup.dispatch_to_the_end("run 1", [1, 2])
    assert len(setup.sent) == 6
    report = setup.dispatch_to_the_end("run 1", [1, 2], epoch=1)
    assert report.counts == {Status.DELIVERED: 1, Status.ERROR: 1}
    assert setup.sent.count("1") == 1
    assert setup.sent.count("2") == 10
    assert (
        len({request.webhook_id for request in setup.receiver.received if request.lead_id == "2"})
        == 1
    )


def test_an_airflow_retry_is_not_a_clear(setup):
    """The same task instance, tried again by Airflow, adds no attempt (Contract 3.2 and 4.5)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", [1])
    report = setup.dispatch("run 1", [1])
    assert len(setup.sent) == 1
    assert report.counts == {Status.ERROR: 1}


def test_a_clear_can_send_everything_again(setup):
    """`on_clear="resend_all"` sends delivered leads too, once a clear (Contract 4.5)."""
    setup.dispatch("run 1", [1, 2])
    setup.dispatch("run 1", [1, 2], epoch=1, resend_all=True)
    setup.dispatch("run 1", [1, 2], epoch=1, resend_all=True)
    assert sorted(setup.sent) == ["1", "1", "2", "2"]


def test_a_clear_sends_what_the_row_says_now(setup):
    """What was corrected in the row is what a resend sends (Contract 4.5)."""
    setup.answer(lambda _: Reply(422))
    setup.dispatch("run 1", [lead(1, phone="wrong")])
    setup.answer(lambda _: Reply())
    setup.dispatch("run 1", [lead(1, phone="right")], epoch=1)
    assert b"wrong" in setup.receiver.received[0].body
    assert b"right" in setup.receiver.received[1].body


def test_a_resend_after_the_payload_was_cleared_takes_it_from_the_row(setup):
    """Retention does not stand in the way of a clear while the row is there (4.5 and 6.4)."""
    setup.dispatch("run 1", [1, 2])
    later = setup.clock.now + timedelta(days=31)
    assert setup.log.purge_payloads(later, timedelta(days=30)) == 2
    report = setup.dispatch("run 1", [1], epoch=1, resend_all=True)
    assert setup.sent[2:] == ["1"]
    assert report.counts == {Status.DELIVERED: 2}


def test_an_error_of_an_earlier_run_waits_for_its_clear(setup):
    """A look-back that finds a lead in error neither sends it nor fails for it (Contract 4.5)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", [1])
    report = setup.dispatch("run 2", [1])
    assert len(setup.sent) == 1
    assert (report.counts, report.skipped, report.failed) == ({}, 1, ())


def test_since_when_a_lead_is_in_error_does_not_depend_on_its_row(setup):
    """A row that changes each day is in error since the day on which it failed (4.4, 4.7)."""
    setup.answer(lambda _: Reply(404))
    began = setup.clock.now
    setup.dispatch("run 1", [lead(1, city="Recife")])
    for day, city in enumerate(("Olinda", "Natal"), 2):
        setup.clock.now += timedelta(days=1)
        report = setup.dispatch(f"run {day}", [lead(1, city=city)])
        assert report.failed_since - began < timedelta(minutes=1)


def test_who_asks_for_one_lead_again_after_an_error_gets_new_attempts(setup):
    """Another run for a single lead in error sends it; its own Airflow retry does not (4.6)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", [1], only_own=True)
    setup.dispatch("run 2", [1], only_own=True)
    setup.dispatch("run 2", [1], only_own=True)
    assert len(setup.sent) == 2
    assert setup.rows("SELECT resend, number FROM zbl_attempt ORDER BY id") == [(0, 1), (1, 1)]


def test_bad_leads_never_stop_the_others(setup):
    """Invalid, unqualified and filtered leads are recorded with the reason (4.2, 5.4, 5.5)."""
    setup.extra = {"min_score": 50}
    leads = [
        lead(1, score=80),
        lead(2, score=20),
        lead(3, score=90, status="new"),
        lead(4, score=90, email="no-address"),
        lead(5, score=90),
    ]
    report = setup.dispatch("run 1", leads)
    assert sorted(setup.sent) == ["1", "5"]
    assert report.counts == {Status.DELIVERED: 2, Status.FILTERED: 2, Status.INVALID: 1}
    assert [failed.lead_id for failed in report.failed] == ["4"]
    reasons = dict(setup.rows("SELECT lead_id, reason FROM zbl_delivery"))
    assert "min_score" in reasons["2"]
    assert "status" in reasons["3"]
    assert "lead.email" in reasons["4"]
    assert "no-address" not in reasons["4"]


def test_a_filtered_lead_goes_out_when_the_filter_has_changed(setup):
    """What was kept back is looked at again by a later run (Contract 5.4)."""
    setup.extra = {"min_score": 50}
    setup.dispatch("run 1", [lead(1, score=20)])
    setup.extra = {"min_score": 10}
    assert setup.dispatch("run 2", [lead(1, score=20)]).counts == {Status.DELIVERED: 1}


def test_an_invalid_lead_fails_only_the_run_that_found_it_so(setup):
    """It is looked at again when the row has changed, and not before (Contract 5.5)."""
    bad = lead(1, email="no-address")
    assert setup.dispatch("run 1", [bad]).counts == {Status.INVALID: 1}
    assert setup.dispatch("run 2", [bad]).counts == {}
    assert setup.dispatch("run 3", [lead(1)]).counts == {Status.DELIVERED: 1}


def test_a_source_that_fails_half_way_fails_the_task_after_what_it_gave_is_sent(setup):
    """A query that breaks loses nothing that it has found (Contract 4.2 and 6.2)."""

    def source():
        yield from (lead(lead_id) for lead_id in range(300))
        raise OSError("the database went away")

    with pytest.raises(OSError, match="went away"):
        setup.dispatcher().dispatch(key("run 1"), 0, source())
    assert len(setup.sent) == 300
    assert setup.dispatch("run 1", list(range(310))).counts == {Status.DELIVERED: 310}
    assert len(setup.sent) == 310


def test_a_log_that_goes_away_fails_the_task_for_airflow_to_retry(setup, monkeypatch):
    """A broken log raises its own error, and what was not settled is sent again later (6.2)."""

    def broken(*_):
        raise OSError("the log went away")

    monkeypatch.setattr(setup.log, "settle", broken)
    with pytest.raises(OSError, match="log went away"):
        setup.dispatch("run 1", [1, 2])
    monkeypatch.undo()
    setup.clock.now += timedelta(minutes=2)
    assert setup.dispatch("run 1", [1, 2]).counts == {Status.DELIVERED: 2}
    ids = {request.webhook_id for request in setup.receiver.received}
    assert len(ids) == 2


def test_what_a_signal_raises_ends_the_task_and_loses_nothing(setup, end_it):
    """Airflow ends a task for its `execution_timeout` so; the next try goes on (Contract 6.2)."""
    first = threading.Lock()

    def answer(_):
        if first.acquire(blocking=False):
            end_it()
        return Reply(after=0.1)

    setup.answer(answer)
    with pytest.raises(TaskTimeout):
        setup.dispatch("run 1", list(range(200)))
    assert len(setup.sent) < 100
    setup.clock.now += timedelta(minutes=2)
    assert setup.dispatch("run 1", list(range(200))).counts == {Status.DELIVERED: 200}


def test_who_observes_is_told_of_each_attempt_once(setup, end_it, monkeypatch):
    """The last ones count, too, when Airflow ends the task before they are settled (8.3)."""
    monkeypatch.setattr("zbl_provider.dispatch.outcome_writer._GROUP_SECONDS", 60)
    observed = []

    def answer(request):
        if request.lead_id == "10":
            end_it()
        return Reply(after=9 if request.lead_id == "10" else 0)

    setup.answer(answer)
    setup.extra = {"max_concurrency": 2}
    dispatcher = setup.dispatcher()
    dispatcher.observe = observed.extend
    with pytest.raises(TaskTimeout):
        dispatcher.dispatch(key("run 1"), 0, [lead(lead_id) for lead_id in range(1, 21)])
    ((recorded,),) = setup.rows("SELECT count(*) FROM zbl_attempt")
    assert len(observed) == recorded > 0


def test_an_outcome_that_waits_for_others_is_known_when_the_task_ends(setup, end_it, monkeypatch):
    """A lead that was answered is not sent twice for an end before it was settled (6.2)."""
    monkeypatch.setattr("zbl_provider.dispatch.outcome_writer._GROUP_SECONDS", 60)

    first = threading.Lock()

    def answer(_):
        if first.acquire(blocking=False):
            threading.Timer(2, end_it).start()
            return Reply()
        return Reply(after=9)  # as long as it is out, there may be more to wait for

    setup.answer(answer)
    with pytest.raises(TaskTimeout):
        setup.dispatch("run 1", [1, 2])
    assert ("delivered", 1) in setup.rows("SELECT status, attempts FROM zbl_delivery")


def test_a_query_that_hangs_does_not_outlast_the_task(setup, end_it):
    """What a signal raises does not wait for the leads' database to answer (6.2)."""
    ended = threading.Event()
    waited_for = []

    def offered():
        yield lead(1)
        threading.Timer(2, end_it).start()
        waited_for.append(not ended.wait(30))

    try:
        with pytest.raises(TaskTimeout):
            setup.dispatcher().dispatch(key("run 1"), 0, offered())
        assert waited_for == []
    finally:
        ended.set()


def test_a_task_that_was_given_another_connection_minds_its_leads_there(setup):
    """It neither waits for its leads of the old one for ever nor fails for them (4.5, 4.7)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", [1])
    setup.answer(lambda _: Reply())
    mended = setup.dispatcher()
    mended.destination = replace(mended.destination, integration="make")
    report = mended.dispatch(key("run 1"), 1, [lead(1)])
    assert (report.counts, report.due_at) == ({Status.DELIVERED: 1}, None)
    first, second = setup.receiver.received
    assert first.webhook_id != second.webhook_id


def test_a_clear_of_one_lead_sends_it_whoever_delivered_it(setup):
    """Where the task is the lead, its clear sends it again, once (Contract 4.5)."""
    single = {"only_own": True, "resend_all": True}
    setup.dispatch("run 1", [1], **single)
    assert setup.dispatch("run 2", [1], **single).skipped == 1
    for _ in range(2):  # the second is an Airflow retry
        setup.dispatch("run 2", [1], epoch=1, **single)
    assert setup.sent == ["1", "1"]
    setup.dispatch("run 3", [1], only_own=True)
    setup.dispatch("run 3", [1], epoch=1, only_own=True)
    assert len(setup.sent) == 2, "on_clear='resend_errors' leaves it"


def test_a_cleared_task_that_has_another_lead_now_sends_that_alone(setup):
    """As of mapped tasks whose list has grown at its beginning: none is sent by two (4.5, 4.6)."""
    of_one = {"only_own": True, "resend_all": True}
    for index, lead_id in ((1, 1), (2, 2)):
        setup.dispatch(f"index {index}", [lead_id], **of_one)
    for index, lead_id in ((2, 1), (1, 0)):
        setup.dispatch(f"index {index}", [lead_id], epoch=1, **of_one)
    new = setup.dispatch("index 3", [2], **of_one)
    assert sorted(setup.sent) == ["0", "1", "1", "2"]
    assert new.skipped == 1, "what is new was not cleared, and its lead is delivered (4.4)"


def test_a_cleared_task_that_has_another_lead_now_still_minds_the_one_in_error(setup):
    """Else nobody would: the list may have it no more (Contract 4.5, 4.11)."""
    setup.answer(lambda _: Reply(422))
    of_one = {"only_own": True, "resend_all": True}
    setup.dispatch("run 1", [1], **of_one)
    setup.answer(lambda _: Reply())
    assert setup.dispatch("run 1", [2], epoch=1, **of_one).counts == {Status.DELIVERED: 2}


def test_a_cleared_task_fails_no_more_for_invalid_leads_that_are_gone(setup):
    """An invalid row that was deleted, or got the id it lacked, lets the clear succeed (4.5)."""
    without_id = read_one({"email": "1@example.com"})
    report = setup.dispatch("run 1", [without_id, lead(2, email="no-address"), lead(3)])
    assert report.counts == {Status.INVALID: 2, Status.DELIVERED: 1}
    report = setup.dispatch("run 1", [lead(1), lead(2, email="no-address")], epoch=1)
    assert [failed.lead_id for failed in report.failed] == ["2"]
    report = setup.dispatch("run 1", [lead(1), lead(2)], epoch=2)
    assert report.failed == ()
    assert sorted(setup.sent) == ["1", "2", "3"]


def test_a_lead_that_is_due_and_cannot_be_had_is_waited_for_with_patience(setup, monkeypatch):
    """A task that finds its lead due, but taken, looks again in seconds, not at once (4.6)."""
    setup.answer(lambda _: Reply(503))
    due = setup.clock.now - timedelta(seconds=1)
    monkeypatch.setattr(setup.log, "next_due", lambda _: due)
    report = setup.dispatch("run 1", [1])
    assert report.due_at == setup.clock.now + timedelta(seconds=5)


def test_a_lead_that_fails_elsewhere_as_its_task_counts_does_not_end_it_green(setup, monkeypatch):
    """Another task that has claimed it may settle it between any two looks (4.6, 4.7)."""
    other, now = setup.log.begin(key("other"), "zapier", 0, setup.clock.now), setup.clock.now
    leads = [candidate(lead(1), setup.dispatcher().destination)]
    [claimed] = setup.log.enrol(other, "zapier", leads, now, lease=timedelta(minutes=1)).claimed
    refused = Settlement(claimed, classify(Answer(404, "", None, 0.1)), now, None)
    count = setup.log.counts

    def settled_after_the_count(run):
        counts = count(run)
        setup.log.settle([refused], other)
        return counts

    monkeypatch.setattr(setup.log, "counts", settled_after_the_count)
    report = setup.dispatch("run 1", [1], only_own=True)
    assert report.due_at == now + timedelta(seconds=5), "it is being sent, as far as it knows"
    assert "1" in setup.dispatch("run 1", resumed=True, only_own=True).failure("zapier")


def test_a_clear_says_which_leads_it_cannot_send_again(setup, caplog):
    """A payload that retention cleared, and a row that is gone, are counted (4.5, 6.4)."""
    setup.dispatch("run 1", [1, 2])
    setup.log.purge_payloads(setup.clock.now + timedelta(days=31), timedelta(days=30))
    setup.dispatch("run 1", [1], epoch=1, resend_all=True)
    assert "Leads that can't be sent again: 1." in caplog.text


def test_what_was_claimed_and_not_sent_is_given_back(setup, monkeypatch):
    """A task that breaks keeps nobody waiting for leases of leads that it never sent (4.6, 6.2)."""

    def enrolled():
        return setup.rows("SELECT count(*) FROM zbl_delivery") == [(100,)]

    def broken(*_):
        # What is claimed as it is enrolled has reached the senders by then.
        wait_for("all leads in the log", enrolled, seconds=30, pause=0.02)
        time.sleep(0.2)
        raise OSError("the log went away")

    setup.extra = {"max_concurrency": 1}
    setup.answer(lambda _: Reply(after=0.02))
    monkeypatch.setattr(setup.log, "settle", broken)
    with pytest.raises(OSError, match="log went away"):
        setup.dispatch("run 1", list(range(100)))
    counts = dict(setup.rows("SELECT status, count(*) FROM zbl_delivery GROUP BY status"))
    assert counts["pending"] > 50
    assert counts["sending"] <= len(setup.sent) + 1


def test_a_lead_is_not_sent_under_a_lease_that_is_nearly_over(setup, monkeypatch):
    """Another worker could claim it while it is under way: it is given back first (4.6)."""
    released = []
    release = setup.log.release
    monkeypatch.setattr(
        setup.log, "release", lambda claimed, now: (released.extend(claimed), release(claimed, now))
    )

    def answer(request):
        if request.lead_id == "1":
            setup.clock.now += timedelta(seconds=50)
        return Reply()

    setup.extra = {"max_concurrency": 1}
    setup.answer(answer)
    assert setup.dispatch("run 1", [1, 2]).counts == {Status.DELIVERED: 2}
    assert [claimed.lead_id for claimed in released] == ["2"]
    assert setup.sent == ["1", "2"]


def test_an_outcome_that_comes_after_its_lease_is_said_and_not_written(setup, caplog):
    """Whoever claimed the lead meanwhile writes down what becomes of it (Contract 4.6, 6.2)."""
    other = setup.log.begin(key("run 2"), "zapier", 0, setup.clock())

    def answer(_):
        setup.clock.now += timedelta(minutes=2)
        setup.log.claim("zapier", 10, setup.clock(), timedelta(minutes=1), run=other)
        return Reply()

    setup.answer(answer)
    assert setup.dispatch("run 1", [1]).counts == {Status.SENDING: 1}
    assert "1 outcomes came after their leases had run out" in caplog.text
    assert setup.rows("SELECT * FROM zbl_attempt") == []


def test_a_task_that_airflow_ends_settles_what_is_in_flight_and_gives_back_the_rest(setup):
    """Stopped in the middle, it leaves nothing in doubt: no lead goes out twice for it (6.2)."""
    dispatcher = setup.dispatcher()

    def answer(_):
        dispatcher.stop()
        return Reply(after=0.05)

    setup.answer(answer)
    report = dispatcher.dispatch(key("run 1"), 0, [lead(lead_id) for lead_id in range(50)])
    assert 0 < len(setup.sent) < 50
    assert report.counts[Status.DELIVERED] == len(setup.sent)
    assert Status.SENDING not in report.counts
    setup.answer(lambda _: Reply())
    assert setup.dispatch("run 1", list(range(50))).counts == {Status.DELIVERED: 50}
    assert len(setup.sent) == 50


def test_a_task_that_airflow_ends_while_its_query_is_read_does_not_succeed(setup):
    """What it had not read would never be found again: a retry has to go on (3.2, 6.2)."""
    dispatcher = setup.dispatcher()
    stopped = threading.Event()

    def answer(_):
        dispatcher.stop()
        stopped.set()
        return Reply()

    def offered():
        yield from map(lead, range(500))
        stopped.wait(30)
        yield lead(500)

    setup.answer(answer)
    with pytest.raises(DispatchStopped):
        dispatcher.dispatch(key("run 1"), 0, offered())
    assert setup.dispatch("run 1", list(range(501))).counts == {Status.DELIVERED: 501}
    assert len(setup.sent) == 501


def test_a_task_that_airflow_ends_before_it_sends_sends_nothing(setup):
    """A cleared task reads its query first, and may be ended meanwhile (4.5, 6.2)."""
    setup.dispatch("run 1", [1])
    dispatcher = setup.dispatcher()

    def offered():
        dispatcher.stop()
        yield lead(2)

    report = dispatcher.dispatch(key("run 1"), 1, offered())
    assert report.counts == {Status.DELIVERED: 1, Status.PENDING: 1}
    assert setup.sent == ["1"]
    setup.clock.now = report.due_at
    assert setup.dispatch("run 1", epoch=1).counts == {Status.DELIVERED: 2}
