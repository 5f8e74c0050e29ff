"""A task that a person ends while it sends."""

import threading

import pytest

from tests.support.receiver import Reply
from tests.support.rest import wait_for
from tests.system.case import Scenario, lead

ROWS = [lead(f"ended-{n:03}") for n in range(400)]
UNDER_WAY, ENDED = threading.Event(), threading.Event()


def answer(_):
    """Take so long that all of them would keep the task busy for 20 s; be quick when it ended."""
    UNDER_WAY.set()
    return Reply(after=0 if ENDED.is_set() else 0.2)


def mark_as_failed(case):
    """Mark the task as failed, and wait until Airflow has ended its processes."""
    assert UNDER_WAY.wait(60)
    path = f"/api/v2/dags/{case.name}/dagRuns/{case.run_id}/taskInstances/send"
    case.rest.call("PATCH", path, {"new_state": "failed"})
    wait_for("its end", lambda: not case.workers(), seconds=60)


@pytest.mark.scenario(
    Scenario(
        name="ended",
        rows=ROWS,
        answer=answer,
        extra={"max_concurrency": 4},
        during=mark_as_failed,
    )
)
def test_a_task_marked_as_failed_leaves_nothing_in_doubt(case):
    """Airflow ends it: what was sent is settled, the rest is free, and a clear sends that (6.2)."""
    assert case.end() == "failed"
    before = case.arrivals()
    assert 0 < len(before) < len(ROWS)
    statuses = {lead_id: row["status"] for lead_id, row in case.log_rows().items()}
    assert {lead_id for lead_id, status in statuses.items() if status == "delivered"} == set(before)
    assert set(statuses.values()) == {"delivered", "pending"}

    ENDED.set()
    case.clear()
    assert case.end() == "success"
    assert case.arrivals() == [row["id"] for row in ROWS]
