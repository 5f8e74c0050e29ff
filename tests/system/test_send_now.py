"""What waits is sent now, in a real Airflow (Contract 3.5)."""

import pytest

from tests.support.receiver import Reply
from tests.support.rest import wait_for
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
