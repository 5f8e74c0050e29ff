"""Backfills that run again what had run, and teardowns."""

from types import SimpleNamespace

import pytest

from tests.support.receiver import Reply
from tests.support.rest import wait_for
from tests.system.case import Scenario, lead

DAYS = {"fine": "2026-02-20", "bad": "2026-02-21", "waits": "2026-02-22"}
RECEIVER = SimpleNamespace(mended=False)


def answer(request):
    """Deliver one lead, refuse one for good, and have one tried again in an hour."""
    status = {"bad": 404, "waits": 503}.get(request.lead_id, 200)
    return Reply(200 if RECEIVER.mended else status)


def backfill(case, reprocess):
    """Run the three days, those too whose runs have ended as told; return the runs' states."""
    case.rest.wait_for_dag(case.name)
    body = {
        "dag_id": case.name,
        "from_date": "2026-02-20T00:00:00Z",
        "to_date": "2026-02-22T00:00:00Z",
        "max_active_runs": 3,
        "reprocess_behavior": reprocess,
    }
    number = case.rest.call("POST", "/api/v2/backfills", body)["id"]

    def completed():
        return case.rest.call("GET", f"/api/v2/backfills/{number}")["completed_at"]

    wait_for("the end of the backfill", completed, seconds=120)
    runs = case.rest.call("GET", f"/api/v2/dags/{case.name}/dagRuns?order_by=logical_date")
    return [run["state"] for run in runs["dag_runs"]]


def statuses(case):
    return {lead_id: row["status"] for lead_id, row in case.log_rows().items()}


def three_times(case):
    """Backfill; those that failed, while nothing is mended; then all, once it is."""
    SEEN.append((backfill(case, "none"), statuses(case), len(case.received)))
    SEEN.append((backfill(case, "failed"), statuses(case), len(case.received)))
    RECEIVER.mended = True
    SEEN.append((backfill(case, "completed"), statuses(case), len(case.received)))


SEEN = []


@pytest.mark.scenario(
    Scenario(
        name="reprocessed",
        rows=[lead(id_, qualified_at=f"{day} 12:00:00") for id_, day in DAYS.items()],
        answer=answer,
        start=False,
        during=three_times,
    )
)
def test_a_backfill_that_runs_again_is_a_clear(case):
    """What failed is sent again, what waits is due at once, and nothing twice (3.5, 4.4, 4.5)."""
    case.wait(280)
    before = {"fine": "delivered", "bad": "error", "waits": "retrying"}
    assert [
        (["success", "failed", "success"], before, 3),
        (["success", "failed", "success"], before, 4),
        (["success"] * 3, dict.fromkeys(DAYS, "delivered"), 6),
    ] == SEEN
    assert [(a["resend"], a["number"]) for a in case.attempts("waits")] == [(0, 1), (0, 2)]
    assert [a["resend"] for a in case.attempts("bad")] == [0, 1, 2]
    assert len(case.received_of("fine")) == 1


def clear_twice(case):
    """Clear the setup with what follows it, and then alone."""
    rest, runs = case.rest, f"/api/v2/dags/{case.name}"
    body = {"dry_run": False, "dag_run_id": case.run_id, "task_ids": ["send"], "only_failed": False}
    assert rest.wait_for_run(case.name, case.run_id) == "failed"
    STATES.append(states(case))
    for more in ({"include_downstream": True}, {}):
        rest.call("POST", f"{runs}/clearTaskInstances", body | more)
        assert rest.wait_for_run(case.name, case.run_id) == "failed"
        STATES.append(states(case))


def states(case):
    tasks = {task["task_id"]: task["state"] for task in case.rest.tasks(case.name, case.run_id)}
    return (tasks["send"], tasks["work"], tasks["last"]), case.arrivals()


STATES = []


@pytest.mark.scenario(
    Scenario(
        name="torn_down",
        rows=[lead("first"), lead("lost")],
        answer=lambda request: Reply(
            404 if request.lead_id == "lost" and not request.before else 200
        ),
        during=clear_twice,
    )
)
def test_a_setup_and_a_teardown_may_dispatch(case):
    """A teardown sends although the work failed, and again when its setup is cleared (4.5)."""
    case.wait()
    assert STATES == [
        (("failed", "upstream_failed", "upstream_failed"), ["first"]),
        (("success", "failed", "success"), ["first", "last", "lost"]),
        (("success", "failed", "success"), ["first", "last", "last", "lost"]),
    ]
    assert {row["status"] for row in case.log_rows().values()} == {"delivered"}
    assert len(case.received_of("lost")) == 2
