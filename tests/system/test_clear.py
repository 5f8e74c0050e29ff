"""Clearing a task is sending again."""

from types import SimpleNamespace

import pytest

from tests.support.receiver import Reply
from tests.support.rest import ApiError, wait_for
from tests.system.case import Scenario, always, lead

CONFLICT = 409
RECEIVER = SimpleNamespace(mended=False)


def answer(request):
    """Refuse one lead until the receiver is mended."""
    return Reply(200 if RECEIVER.mended or request.lead_id != "bad" else 500)


@pytest.mark.scenario(
    Scenario(name="cleared_errors", rows=[lead("bad"), lead("ok-1"), lead("ok-2")], answer=answer)
)
def test_clear_resends_errors(case):
    """A clear gives leads in error all attempts anew, under the same id, and no others (4.5)."""
    assert case.end() == "failed"
    assert len(case.received_of("bad")) == 3

    case.clear()
    assert case.end() == "failed"
    assert len(case.received_of("bad")) == 6

    RECEIVER.mended = True
    case.clear()
    assert case.end() == "success"
    bad = case.received_of("bad")
    assert len(bad) == 7
    assert len({request.webhook_id for request in bad}) == 1
    assert case.arrivals() == ["bad", "ok-1", "ok-2"]
    attempts = [(attempt["resend"], attempt["number"]) for attempt in case.attempts("bad")]
    assert attempts == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 1)]


@pytest.mark.scenario(Scenario(name="cleared_all", rows=[lead("one"), lead("two")]))
def test_clear_resends_all_where_asked(case):
    """With on_clear="resend_all" a clear sends delivered leads too, under the same ids (4.5)."""
    assert case.end() == "success"
    assert case.arrivals() == ["one", "two"]

    case.clear(only_failed=False)
    assert case.end() == "success"
    assert case.arrivals() == ["one", "one", "two", "two"]
    assert len({request.webhook_id for request in case.received}) == 2


def lower_retries_and_clear(case):
    """Lower `retries` in the Dag's file after the failure, and clear what has failed."""
    assert case.rest.wait_for_run(case.name, case.run_id) == "failed"
    assert case.task()["max_tries"] == 1
    (case.stage.airflow.home / f"{case.name}.retries").touch()
    token = case.rest.call("GET", f"/api/v2/dags/{case.name}")["file_token"]
    try:
        case.rest.call("PUT", f"/api/v2/parseDagFile/{token}")
    except ApiError as refusal:
        if refusal.status != CONFLICT:  # it waits for that already
            raise
    task = f"/api/v2/dags/{case.name}/tasks/send"
    wait_for("0 retries", lambda: case.rest.call("GET", task)["retries"] == 0, seconds=90)
    case.clear()
    wait_for("another try", lambda: case.task()["try_number"] == 2, seconds=90)


@pytest.mark.scenario(
    Scenario(name="lowered", rows=[lead("low")], answer=always(404), during=lower_retries_and_clear)
)
def test_a_clear_counts_although_retries_was_lowered_before_it(case):
    """`max_tries` stays what it was, and the lead is sent again all the same (4.10)."""
    case.thread.join(200)
    assert case.end(seconds=200) == "failed"
    assert case.task()["max_tries"] == 1
    assert [attempt["resend"] for attempt in case.attempts("low")] == [0, 1]


def mark_and_lower_and_clear(case):
    """Mark the task as failed while it waits: it cannot note its end."""
    case.wait_for_task("deferred", seconds=120)
    path = f"/api/v2/dags/{case.name}/dagRuns/{case.run_id}/taskInstances/send"
    case.rest.call("PATCH", path, {"new_state": "failed"})
    lower_retries_and_clear(case)


@pytest.mark.scenario(
    Scenario(
        name="lowered_in_wait",
        rows=[lead("bad"), lead("late")],
        answer=lambda request: Reply(
            200 if request.before else 404 if request.lead_id == "bad" else 503
        ),
        during=mark_and_lower_and_clear,
    )
)
def test_a_clear_counts_although_the_run_could_not_tell_of_its_end(case):
    """What is in error is sent again, and what waits for an hour is due at once (4.10, 3.5)."""
    case.thread.join(200)
    assert case.end(seconds=200) == "success"
    assert case.task()["max_tries"] == 1
    assert case.arrivals() == ["bad", "late"]
    assert [attempt["resend"] for attempt in case.attempts("bad")] == [0, 1]
    assert [attempt["number"] for attempt in case.attempts("late")] == [1, 2]


def delete_and_trigger_again(case):
    """Make the run anew under its id, once the receiver is mended."""
    assert case.rest.wait_for_run(case.name, case.run_id) == "failed"
    runs = f"/api/v2/dags/{case.name}/dagRuns"
    case.rest.call("DELETE", f"{runs}/{case.run_id}")
    case.rest.call("POST", runs, {"logical_date": None, "dag_run_id": case.run_id})


@pytest.mark.scenario(
    Scenario(
        name="anew",
        rows=[lead("anew")],
        answer=lambda request: Reply(200 if request.before else 404),
        during=delete_and_trigger_again,
    )
)
def test_a_run_made_anew_under_the_same_id_sends_what_had_failed(case):
    """It is as if it had been cleared: it does not fail with the old error (4.10)."""
    case.thread.join(200)
    assert case.end(seconds=200) == "success"
    assert [request.status for request in case.received] == [404, 200]


def run_again(case):
    assert case.rest.wait_for_run(case.name, case.run_id) == "failed"
    NEXT.run_id = case.trigger()


NEXT = SimpleNamespace(run_id="")


@pytest.mark.scenario(
    Scenario(
        name="honest",
        rows=[lead("bad"), lead("good")],
        answer=lambda request: Reply(404 if request.lead_id == "bad" else 200),
        during=run_again,
    )
)
def test_a_green_run_says_what_earlier_ones_left_in_error(case):
    """How many, since when, and how to send them again; in the log and the summary (4.4, 4.7)."""
    case.thread.join(200)
    assert case.end(NEXT.run_id, seconds=200) == "success"
    summary = case.rest.xcom(case.name, NEXT.run_id, "send")
    assert summary == {"skipped": 2, "skipped_in_error": 1}
    said = case.rest.log(case.name, NEXT.run_id, "send")
    assert "Leads of the query that are in error: 1, the first since 20" in said
    assert "airflow zbl deliveries resend --integration honest" in said
    assert len(case.received) == 2
