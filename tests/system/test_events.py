"""What a real Airflow tells others: asset events, metrics, notifications (Contract 8.3)."""

import json

import pytest

from tests.support.receiver import Received, Reply
from tests.support.rest import wait_for
from tests.system.case import Scenario, lead


def first_away(request: Received) -> Reply:
    """Answer the first request with 503."""
    return Reply(200 if request.before else 503)


ANNOUNCED = pytest.mark.scenario(
    Scenario(
        name="announced",
        rows=[lead("1"), lead("2"), lead("low", score="10")],
        answer=first_away,
        extra={"min_score": 50},
    )
)


@ANNOUNCED
def test_an_asset_event_counts_what_was_delivered(case):
    """An outlet's event has the counts by status, whatever waits lay between (Contract 8.3)."""
    assert case.end() == "success"

    (event,) = asset_events(case)
    assert event["extra"] == {"delivered": 2, "filtered": 1}


@pytest.mark.scenario(
    Scenario(name="unannounced", rows=[lead("low", score="10")], extra={"min_score": 50})
)
def test_where_nothing_was_delivered_there_is_no_asset_event(case):
    """A Dag that is scheduled on the asset does not run for nothing (Contract 8.3)."""
    assert case.end() == "success"

    assert asset_events(case) == []


def asset_events(case):
    """Return what Airflow has recorded of the case's asset."""
    path = f"/api/v2/assets/events?source_dag_id={case.name}"
    return case.rest.call("GET", path)["asset_events"]


@ANNOUNCED
def test_a_tasks_metrics_arrive_with_their_integration(case):
    """A StatsD server gets them from the task's own process, before and after a wait (8.3)."""
    assert case.end() == "success"

    def arrived() -> dict[str, int] | None:
        sums = {}
        for packet in case.stage.statsd.metrics(",integration=announced:"):
            name, _, value = packet.partition(",integration=announced:")
            sums[name] = sums.get(name, 0) + (int(value[:-2]) if value.endswith("|c") else 1)
        return sums if len(sums) == 3 and sums["airflow.zbl.delivered"] == 2 else None

    assert wait_for("metrics", arrived, seconds=10) == {
        "airflow.zbl.attempts": 4,
        "airflow.zbl.delivered": 2,
        "airflow.zbl.attempt_ms": 4,
    }


ALARMED = {
    "task.failed": ("send has failed", "failed"),
    "dag_run.failed": ("alarming has failed", "failed"),
    "deadline.missed": ("alarming is late", None),  # the run is queued or running
}


@pytest.mark.scenario(Scenario(name="alarming"))
def test_every_part_of_airflow_can_notify(case):
    """A task's process, the Dag processor and the triggerer each send their notification (8.3)."""
    assert case.end() == "failed"

    wait_for("notifications", lambda: len(case.received) >= len(ALARMED) or None, seconds=60)
    bodies = {(body := json.loads(request.body))["event"]: body for request in case.received}
    assert bodies.keys() == ALARMED.keys()
    for event, (message, state) in ALARMED.items():
        body = bodies[event]
        assert body["message"] == message
        assert state in (None, body["state"])
        assert (body["dag_id"], body["run_id"]) == ("alarming", case.run_id)
        assert (body["deadline"] is not None) == (event == "deadline.missed")
        assert "marker" not in json.dumps(body)
    assert bodies["task.failed"]["task_id"] == "send"
    assert len({request.webhook_id for request in case.received}) == len(ALARMED)
