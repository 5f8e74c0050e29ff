"""What waits is sent now, in a real Airflow (Contract 3.5)."""

import threading

import pytest

from tests.support.receiver import Reply
from tests.support.rest import ApiError, wait_for
from tests.system.case import Scenario, lead

LEADS = ["now-1", "now-2"]


def once_unwilling(request):
    """Refuse each first attempt; the second is not due within the test's time."""
    return Reply(200 if request.before else 503)


def hurried(by):
    name = f"hurried_{by}"
    rows = [lead(lead_id) for lead_id in LEADS]
    return pytest.mark.scenario(Scenario(name=name, rows=rows, answer=once_unwilling))


def attempts(case):
    return [attempt["number"] for lead_id in LEADS for attempt in case.attempts(lead_id)]


def ends_well(case):
    assert case.end(seconds=200) == "success"
    assert case.arrivals() == LEADS
    assert attempts(case) == [1, 2, 1, 2], "the attempts that were made count"


@hurried("clear")
def test_a_clear_sends_what_waits(case):
    """A clear of the deferred task has its leads due at once, and says how many (3.5, 4.5)."""
    case.wait_for_task("deferred", seconds=120)
    case.clear(only_failed=False)
    wait_for("the second attempts", lambda: case.arrivals() == LEADS, seconds=120)
    ends_well(case)
    assert "leads that waited for their next attempt and are due now: 2." in case.task_log()


@hurried("shell")
def test_the_command_line_sends_what_waits(case, zbl):
    """`airflow zbl deliveries send-now` clears the deferred task as well (3.5, 8.4)."""
    case.wait_for_task("deferred", seconds=120)
    said = zbl("deliveries", "send-now", "--integration", case.name, "--yes")
    assert "2 leads" in said
    assert "1 task cleared" in said
    wait_for("the second attempts", lambda: case.arrivals() == LEADS, seconds=120)
    ends_well(case)


@hurried("page")
def test_the_page_sends_what_waits(case):
    """Its route has them due, and names the tasks that the page then clears (3.5, 8.4)."""
    case.wait_for_task("deferred", seconds=120)
    chosen = {"ids": [row["id"] for row in case.log_rows().values()]}
    done = case.rest.call("POST", "/zbl/api/send-now", chosen)
    assert done["count"] == 2
    [run] = done["runs"]
    assert (run["dag_id"], run["task_id"], run["run_id"]) == (case.name, "send", case.run_id)
    case.clear(only_failed=False)
    wait_for("the second attempts", lambda: case.arrivals() == LEADS, seconds=120)
    ends_well(case)


REST = [f"rest-{n:03}" for n in range(400)]
UNDER_WAY = threading.Event()
RUNS = []


def busy(request):
    """Refuse once each lead that is to wait."""
    if request.lead_id in LEADS:
        return once_unwilling(request)
    UNDER_WAY.set()
    return Reply()


def send_now_while_one_sends(case):
    """Have a task wait, and another send for twenty seconds; then do as the page does."""
    case.wait_for_task("deferred", seconds=120)
    case.commit(LEADS[1], *REST)
    sending = case.trigger()
    RUNS.extend((case.run_id, sending))
    assert UNDER_WAY.wait(120)
    wait_for("two that wait", lambda: all(case.attempts(id_) for id_ in LEADS), seconds=60)

    rows = case.log_rows()
    done = case.rest.call("POST", "/zbl/api/send-now", {"ids": [rows[id_]["id"] for id_ in LEADS]})
    assert done["count"] == 2
    assert {run["run_id"] for run in done["runs"]} == set(RUNS)
    wait_for("the second attempts", lambda: set(LEADS) <= set(case.arrivals()), seconds=15)
    assert not set(REST) <= set(case.arrivals()), "the task is still at work"
    clear_what_is_idle(case, case.run_id)
    with pytest.raises(ApiError, match="409"):
        clear_what_is_idle(case, sending)
    at_work = [run for run in done["runs"] if run["run_id"] == sending]
    case.rest.call("POST", "/zbl/api/forget", {"runs": at_work})


def clear_what_is_idle(case, run_id):
    """Clear a run's task as the page does: one that is at work is not interrupted."""
    body = {"dry_run": False, "dag_run_id": run_id, "task_ids": ["send"], "only_failed": False}
    body["prevent_running_task"] = True
    case.rest.call("POST", f"/api/v2/dags/{case.name}/clearTaskInstances", body)


@pytest.mark.scenario(
    Scenario(
        name="meanwhile",
        rows=[lead(LEADS[0])],
        answer=busy,
        extra={"max_rate": 20},
        during=send_now_while_one_sends,
    )
)
def test_a_task_that_is_sending_sends_at_once_what_waits(case):
    """Its own leads, and those of a task that is deferred: each goes out once (3.5, 4.6)."""
    case.wait()
    assert [case.end(run) for run in RUNS] == ["success", "success"]
    assert case.arrivals() == sorted([*LEADS, *REST])
    assert attempts(case) == [1, 2, 1, 2]
    assert len(case.received) == len(REST) + 4
