"""Several runs that find the same leads; leads one by one."""

import pytest

from tests.support.receiver import Reply
from tests.support.rest import wait_for
from tests.system.case import Scenario, lead

MANY = [lead(f"lead-{n:03}") for n in range(120)]


@pytest.mark.scenario(
    Scenario(
        name="overlapping",
        rows=MANY,
        leads="pg_leads",
        answer=lambda _: Reply(after=0.1),
        extra={"max_concurrency": 4},
        start=False,
    )
)
def test_overlapping_runs_send_once(case):
    """Two runs at once over the same leads, on PostgreSQL, deliver each lead once (4.4, 4.6)."""
    runs = [case.trigger(), case.trigger()]

    assert [case.end(run) for run in runs] == ["success", "success"]

    assert case.arrivals() == [row["id"] for row in MANY]
    rows = case.log_rows("pg_log")
    assert {row["status"] for row in rows.values()} == {"delivered"}
    assert len(rows) == len(MANY)


DAYS = [f"2026-02-{day}" for day in (19, 20, 21, 22, 23)]


@pytest.mark.scenario(
    Scenario(
        name="backfilled",
        rows=[lead(f"of-{day}", qualified_at=f"{day} 12:00:00") for day in DAYS],
        start=False,
    )
)
def test_backfill_sends_once(case):
    """A backfill whose windows overlap delivers each lead once (4.4)."""
    case.rest.wait_for_dag("backfilled")
    days = {"from_date": "2026-02-20T00:00:00Z", "to_date": "2026-02-23T00:00:00Z"}
    body = {"dag_id": "backfilled", "max_active_runs": 4, **days}
    backfill = case.rest.call("POST", "/api/v2/backfills", body)["id"]

    def completed():
        return case.rest.call("GET", f"/api/v2/backfills/{backfill}")["completed_at"]

    wait_for("the end of the backfill", completed, seconds=120)

    runs = case.rest.call("GET", "/api/v2/dags/backfilled/dagRuns?run_type=backfill")["dag_runs"]
    assert [run["state"] for run in runs] == ["success"] * 4
    assert case.arrivals() == [f"of-{day}" for day in DAYS]


@pytest.mark.scenario(Scenario(name="mapped"))
def test_mapped_leads(case):
    """A mapped task sends the leads it is given, and sums up each of them (4.1, 4.3)."""
    assert case.end() == "success"

    assert case.arrivals() == ["mapped-1", "mapped-2", "mapped-3"]
    for map_index in range(3):
        summary = case.rest.xcom("mapped", case.run_id, "send", map_index=map_index)
        assert summary == {"status": "delivered", "attempts": 1, "last_status_code": 200}
        rendered = case.rest.rendered("mapped", case.run_id, "send", map_index)
        assert "Ana" not in str(rendered)
