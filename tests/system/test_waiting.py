"""Attempts, and the waits between them."""

import time

import pytest

from tests.support.receiver import Reply
from tests.support.rest import wait_for
from tests.system.case import Scenario, always, lead


@pytest.mark.scenario(Scenario(name="five_attempts", rows=[lead("five")], answer=always(500)))
def test_five_attempts_are_all(case):
    """After five failures the lead is in error, and Airflow's retries add nothing (3.1, 3.2)."""
    assert case.end() == "failed"

    assert len(case.received) == 5
    assert len({request.webhook_id for request in case.received}) == 1
    gaps = [b.at - a.at for a, b in zip(case.received, case.received[1:], strict=False)]
    assert all(gap >= 5 for gap in gaps)
    row = case.log_rows()["five"]
    assert (row["status"], row["attempts"], row["last_status"]) == ("error", 5, 500)
    assert [attempt["number"] for attempt in case.attempts("five")] == [1, 2, 3, 4, 5]
    task = case.task()
    assert task["max_tries"] == 3
    assert task["try_number"] <= 3, "a try was left, and must not be used"
    assert "five" in case.task_log()


def slowly_unwilling(request):
    """Answer 503 to the first attempt, after a moment in which the worker can be seen."""
    return Reply(200) if request.before else Reply(503, after=3)


@pytest.mark.scenario(
    Scenario(name="deferred_wait", rows=[lead("waits")], answer=slowly_unwilling, start=False)
)
def test_no_worker_waits(case):
    """While a lead waits for its next attempt the task is deferred and no process runs it (3.4)."""
    case.start()
    wait_for("a worker on the task", case.workers, seconds=60, pause=0.1)
    case.wait_for_task("deferred")

    # Its supervisor needs a moment to end; after that nobody may be there until the time has come.
    wait_for("the end of the worker", lambda: not case.workers(), seconds=3, pause=0.1)
    for _ in range(5):
        assert case.workers() == []
        assert case.task()["state"] == "deferred"
        time.sleep(0.4)

    assert case.end() == "success"
    assert [request.status for request in case.received] == [503, 200]
    assert case.received[1].at - case.received[0].at >= 8
