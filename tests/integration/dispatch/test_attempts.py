"""Attempts, retries and their end (Contract 3)."""

from datetime import datetime, timedelta

import pytest

from tests.support.receiver import Reply
from zbl_provider.log.model import Status

MINUTES = "SELECT number, started_at FROM zbl_attempt ORDER BY resend, number"


def test_a_lead_is_delivered_and_its_attempt_is_recorded(setup):
    """A 2xx delivers the lead at the first attempt (Contract 3, 6.3)."""
    report = setup.dispatch("run 1", [1])
    assert report.counts == {Status.DELIVERED: 1}
    assert (report.due_at, report.failed) == (None, ())
    assert setup.sent == ["1"]
    assert setup.rows("SELECT number, status_code, kind FROM zbl_attempt") == [(1, 200, None)]


def test_five_attempts_at_0_1_5_15_30_minutes_then_error(setup):
    """Each wait counts from the failure before it, 51 minutes in all (Contract 3.1 and 3.2)."""
    setup.answer(lambda _: Reply(500))
    start, moments = setup.clock.now, []
    report = setup.dispatch("run 1", [1])
    while report.due_at:
        moments.append(report.due_at - setup.clock.now)
        setup.clock.now = report.due_at - timedelta(microseconds=1)
        early = setup.dispatch("run 1")
        assert early.due_at == report.due_at, "nothing is sent before its time"
        setup.clock.now = report.due_at
        report = setup.dispatch("run 1")
    assert moments == [timedelta(minutes=wait) for wait in (1, 5, 15, 30)]
    assert setup.clock.now - start == timedelta(minutes=51)
    assert len(setup.sent) == 5
    assert report.counts == {Status.ERROR: 1}
    assert [(failed.lead_id, failed.status) for failed in report.failed] == [("1", Status.ERROR)]
    assert "500" in report.failed[0].reason


def test_the_webhook_id_is_the_same_on_every_attempt(setup):
    """A receiver can tell a repetition, by both headers (Contract 2.3)."""
    setup.answer(lambda request: Reply(503) if request.before < 2 else Reply(204))
    report = setup.dispatch_to_the_end("run 1", [1])
    assert report.counts == {Status.DELIVERED: 1}
    requests = setup.receiver.received
    assert len(requests) == 3
    assert len({request.webhook_id for request in requests}) == 1
    assert {request.headers["idempotency-key"] for request in requests} == {requests[0].webhook_id}


@pytest.mark.parametrize("status", [301, 307, 400, 401, 404, 410, 429])
def test_a_configuration_problem_is_an_error_at_once(setup, status):
    """4xx and 3xx are not retried, 429 included (Contract 3 and 3.3)."""
    setup.answer(lambda _: Reply(status, headers={"Location": "/elsewhere", "Retry-After": "1"}))
    report = setup.dispatch("run 1", [1])
    assert report.counts == {Status.ERROR: 1}
    assert report.due_at is None
    assert str(status) in report.failed[0].reason
    assert len(setup.sent) == 1


def test_a_429_that_the_connection_names_waits_as_long_as_it_asks(setup):
    """With `retry_statuses`, Retry-After lengthens the wait (Contract 3.3)."""
    setup.extra = {"retry_statuses": ["429"]}
    setup.answer(
        lambda request: Reply() if request.before else Reply(429, headers={"Retry-After": "120"})
    )
    report = setup.dispatch("run 1", [1])
    assert report.due_at - setup.clock.now == timedelta(minutes=2)
    assert setup.dispatch_to_the_end("run 1").counts == {Status.DELIVERED: 1}


def test_an_empty_schedule_is_a_single_attempt(setup):
    """`schedule=()` gives up after the first attempt (Contract 3.1)."""
    setup.answer(lambda _: Reply(500))
    report = setup.dispatch("run 1", [1], schedule=())
    assert report.counts == {Status.ERROR: 1}
    assert len(setup.sent) == 1


def test_a_refused_connection_is_tried_again(setup):
    """No answer at all is a reason to retry, with its kind in the log (Contract 3 and 6.3)."""
    dispatcher = setup.dispatcher(schedule=(60,))
    from dataclasses import replace

    dispatcher.destination = replace(
        dispatcher.destination, url="https://localhost:1/hook", port=1, origin="https://localhost:1"
    )
    from tests.integration.dispatch.conftest import key, lead

    report = dispatcher.dispatch(key("run 1"), 0, [lead(1)])
    assert report.counts == {Status.RETRYING: 1}
    assert setup.rows("SELECT status_code, kind FROM zbl_attempt") == [(None, "refused")]


def test_one_failing_lead_does_not_hold_up_the_others(setup):
    """A batch with failures settles the rest without waiting for them (Contract 4.2)."""
    setup.answer(lambda request: Reply(503 if int(request.lead_id) % 10 == 0 else 200))
    report = setup.dispatch("run 1", list(range(1, 101)))
    assert report.counts == {Status.DELIVERED: 90, Status.RETRYING: 10}
    assert report.due_at == setup.clock.now + timedelta(minutes=1)


def test_a_task_may_end_before_the_retries(setup):
    """`wait_for_retries=False` ends after the first attempts; a later run goes on (4.6, 4.7)."""
    setup.answer(lambda request: Reply(200 if request.before else 503))
    report = setup.dispatch("run 1", [1], wait_for_retries=False)
    assert report.counts == {Status.RETRYING: 1}
    assert report.due_at is None
    setup.clock.now += timedelta(minutes=1)
    assert setup.dispatch("run 2").counts == {Status.DELIVERED: 1}


def test_a_retry_that_is_due_while_the_task_is_sending_goes_out_with_it(setup):
    """A wait of nothing needs no deferral: the drain ends when nothing can become due (3.1)."""
    setup.answer(lambda request: Reply(200 if request.before == 2 else 503))
    report = setup.dispatch("run 1", [1, 2], schedule=(0, 0))
    assert (report.counts, report.due_at) == ({Status.DELIVERED: 2}, None)
    assert len(setup.sent) == 6


def test_an_attempt_takes_from_its_request_to_its_answer(setup):
    """Its start is noted before it is sent, and the wait begins when it has failed (3.1, 6.3)."""
    began = setup.clock()

    def answer(_):
        setup.clock.now += timedelta(seconds=9)
        return Reply(503)

    setup.answer(answer)
    report = setup.dispatch("run 1", [1])
    [(started_at,)] = setup.rows("SELECT started_at FROM zbl_attempt")
    assert datetime.fromisoformat(str(started_at)) == began
    assert report.due_at == began + timedelta(seconds=9 + 60)
