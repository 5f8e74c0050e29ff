"""Sensors and watchers: what waits in the triggerer."""

import pytest

from tests.support.receiver import Reply
from tests.support.rest import wait_for
from tests.system.case import Scenario, lead

UNWANTED = lead("unwanted", status="new")


def unwilling(request):
    """Refuse the first lead once; no task waits for its retry."""
    return Reply(503 if request.lead_id == "early" and not request.before else 200)


@pytest.mark.scenario(Scenario(name="watched", rows=[UNWANTED], answer=unwilling, start=False))
@pytest.mark.scenario(Scenario(name="awaited", rows=[UNWANTED], start=False))
def test_a_lost_triggerer_loses_no_lead(cases):
    """A watcher and two deferred sensors outlive a SIGKILL; nothing goes out twice (8.1, 8.2)."""
    watched, awaited = cases["watched"], cases["awaited"]
    airflow = watched.stage.airflow
    watched.commit("early")
    wait_for("the first attempt", lambda: watched.received, seconds=150)

    awaited.start()
    for task in ("wait", "arrived"):
        wait_for(task, lambda task=task: state(awaited, task) == "deferred", seconds=60)
    triggerer = airflow.parts["triggerer"]
    for process in [triggerer, *triggerer.children(recursive=True)]:
        process.kill()
    watched.commit("late")
    awaited.commit("late")
    airflow.start("triggerer")

    assert awaited.end(seconds=150) == "success"
    wait_for("the leads", lambda: watched.arrivals() == ["early", "late"], seconds=150)
    rest, run = awaited.rest, ("awaited", awaited.run_id)
    assert rest.xcom(*run, "wait") == {"waiting": 1}
    assert rest.xcom(*run, "arrived") == {"delivered": 1}
    assert awaited.arrivals() == ["late"]
    assert [request.status for request in watched.received_of("early")] == [503, 200]


def state(case, task):
    return case.rest.task(case.name, case.run_id, task)["state"]


@pytest.mark.scenario(Scenario(name="in_vain"))
def test_a_deferred_sensor_times_out_softly(case):
    """Nobody sends the lead: after its `timeout` the sensor is skipped, as it asks (8.1)."""
    assert case.end() == "success"
    assert case.task()["state"] == "skipped"
