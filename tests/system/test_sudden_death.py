"""Parts of Airflow that are lost while a task is at work."""

import threading

import pytest

from tests.support.receiver import Reply
from tests.system.case import Scenario, lead

IN_FLIGHT = [threading.Event() for _ in range(3)]


def answer(request):
    """Refuse twice, thinking long enough for something to happen to Airflow meanwhile."""
    IN_FLIGHT[request.before].set()
    return Reply(503, after=6) if request.before < 2 else Reply()


def family(process):
    """Return a part of Airflow, and everything that it has started."""
    return [process, *process.children(recursive=True)]


@pytest.fixture
def left_behind():
    """Collect processes that nobody else will end."""
    processes = []
    yield processes
    for process in processes:
        if process.is_running():
            process.kill()


@pytest.mark.scenario(Scenario(name="parts", rows=[lead("lasting")], answer=answer, start=False))
def test_lost_parts_of_airflow_cost_and_repeat_no_attempt(case, left_behind):
    """A scheduler killed in the middle of a run, and two triggerers with one trigger (3.4, 6.2)."""
    airflow = case.stage.airflow
    case.start()
    assert IN_FLIGHT[0].wait(60)
    scheduler, *workers = family(airflow.parts["scheduler"])
    left_behind += workers
    scheduler.kill()
    airflow.start("scheduler")
    case.wait_for_task("deferred")

    # To Airflow a triggerer that hangs is lost: after half a minute another has its triggers.
    hanging = family(airflow.parts["triggerer"])
    left_behind += hanging
    for process in hanging:
        process.suspend()
    airflow.start("triggerer")
    assert IN_FLIGHT[1].wait(150)
    # It goes on while the task is at work again, and its trigger's time has come, too.
    for process in hanging:
        process.resume()

    assert case.end(seconds=150) == "success"
    assert [request.status for request in case.received] == [503, 503, 200]
    assert len({request.webhook_id for request in case.received}) == 1
    assert [attempt["number"] for attempt in case.attempts("lasting")] == [1, 2, 3]
