"""Tasks that Airflow's own timeouts end."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, text

from tests.support.receiver import Reply
from tests.system.case import Scenario, lead

ROWS = [lead(f"late-{n:03}") for n in range(200)]
RECEIVER = SimpleNamespace(quick=False)


def pass_time(case):
    """Have the leases of what was in flight be over."""
    engine = create_engine(case.stage.databases["log"])
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    with engine.begin() as log:
        log.execute(
            text("UPDATE zbl_delivery SET due_at = :now WHERE integration = :name AND claim > ''"),
            {"now": now, "name": case.name},
        )
    engine.dispose()


@pytest.mark.scenario(
    Scenario(
        name="too_long",
        rows=ROWS,
        answer=lambda _: Reply(after=0 if RECEIVER.quick else 0.8),
        extra={"max_concurrency": 4},
    )
)
def test_a_task_that_sends_for_too_long(case):
    """Its `execution_timeout` ends it: what was in flight is in doubt, and nothing else (6.2)."""
    assert case.end(seconds=200) == "failed"
    rows = {lead_id: row["status"] for lead_id, row in case.log_rows().items()}
    settled = [lead_id for lead_id, status in rows.items() if status == "delivered"]
    in_doubt = [lead_id for lead_id, status in rows.items() if status == "sending"]
    assert settled
    assert len(in_doubt) <= 4
    assert set(rows.values()) <= {"delivered", "sending", "pending"}
    assert {"delivered", "pending"} <= set(rows.values())

    RECEIVER.quick = True
    pass_time(case)
    case.clear()
    assert case.end() == "success"
    assert sorted(set(case.arrivals())) == [row["id"] for row in ROWS]
    twice = [row["id"] for row in ROWS if len(case.received_of(row["id"])) > 1]
    assert set(twice) <= set(in_doubt)


@pytest.mark.scenario(
    Scenario(
        name="long_wait", rows=[lead("patient")], answer=lambda r: Reply(200 if r.before else 503)
    )
)
def test_a_wait_is_no_execution(case):
    """A task that waits for longer than its `execution_timeout` goes on all the same (3.4)."""
    assert case.end(seconds=200) == "success"
    assert [request.status for request in case.received] == [503, 200]


def have_the_trigger_time_out(case):
    """Airflow gives up the wait, as it does when a trigger cannot run."""
    case.wait_for_task("deferred", seconds=120)
    engine = create_engine(case.stage.databases["metadata"])
    with engine.begin() as metadata:
        metadata.execute(
            text("UPDATE task_instance SET trigger_timeout = :past WHERE dag_id = :name"),
            {"past": datetime.now(UTC) - timedelta(seconds=1), "name": case.name},
        )
    engine.dispose()


@pytest.mark.scenario(
    Scenario(
        name="deferral",
        rows=[lead("deferred")],
        answer=lambda request: Reply(200 if request.before else 503),
        during=have_the_trigger_time_out,
    )
)
def test_a_wait_that_airflow_gives_up_keeps_the_lead(case):
    """Its task fails, the lead still waits, and a clear sends it at once (3.5, 4.5)."""
    assert case.end(seconds=200) == "failed"
    [row] = case.log_rows().values()
    assert (row["status"], row["attempts"]) == ("retrying", 1)
    case.clear()
    assert case.end(seconds=200) == "success"
    assert [(a["resend"], a["number"]) for a in case.attempts("deferred")] == [(0, 1), (0, 2)]
