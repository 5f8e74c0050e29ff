"""Leads whose own task is gone, in a real Airflow (Contract 4.11)."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from sqlalchemy import create_engine, text

from tests.support.receiver import Reply
from tests.support.rest import ApiError, wait_for
from tests.system.case import Scenario

GONE = ("deleted", "marked", "timed-out")
LATER = SimpleNamespace(run_id="")
LONG_DUE = timedelta(minutes=11)


def answer(request):
    """Refuse the first attempt of those that then lose their task."""
    return Reply(200 if request.before or request.lead_id not in GONE else 503)


def conf(lead_id):
    return {"lead": {"id": lead_id, "name": "Ana Souza"}}


def lose_them(case):
    """Delete one run, mark another's task, let a third time out, and time go by; then send one."""
    rest = case.rest
    runs = {"deleted": case.run_id, "marked": rest.trigger("gone", conf=conf("marked"))}
    rest.wait_for_dag("gone_timed_out")
    timed_out = rest.trigger("gone_timed_out", conf=conf("timed-out"))
    case.wait_for_task("deferred", seconds=120)  # the log has its tables by then
    wait_for("three that wait", lambda: waiting(case) == set(GONE), seconds=120, pause=0.5)
    marked = f"/api/v2/dags/gone/dagRuns/{runs['marked']}/taskInstances/send"
    rest.call("PATCH", marked, {"new_state": "success"})
    deleted = f"/api/v2/dags/gone/dagRuns/{runs['deleted']}"
    rest.call("PATCH", deleted, {"state": "failed"})
    rest.call("DELETE", deleted)
    assert rest.wait_for_run("gone_timed_out", timed_out) == "failed"
    with pytest.raises(ApiError, match="404"):
        rest.run("gone", runs["deleted"])
    pass_time(case)
    LATER.run_id = rest.trigger("gone", conf=conf("another"))


def waiting(case):
    return {name for name, row in case.log_rows().items() if row["status"] == "retrying"}


def pass_time(case):
    """Have all of it been due for longer than a task of its own would take to come."""
    due_at = (datetime.now(UTC) - LONG_DUE).isoformat(timespec="microseconds")
    engine = create_engine(case.stage.databases["log"])
    with engine.begin() as log:
        log.execute(
            text("UPDATE zbl_delivery SET due_at = :due_at WHERE integration = 'gone'"),
            {"due_at": due_at},
        )
    engine.dispose()


@pytest.mark.scenario(Scenario(name="gone", answer=answer, conf=conf("deleted"), during=lose_them))
def test_a_lead_whose_task_is_gone_goes_out_with_another(case):
    """Its run deleted, its task marked as success, its run timed out: any dispatch sends it."""
    case.thread.join(200)
    assert case.problem is None
    assert case.end(LATER.run_id, seconds=200) == "success"
    assert case.arrivals() == sorted([*GONE, "another"])
    for lead_id in GONE:
        first, second = case.received_of(lead_id)
        assert first.webhook_id == second.webhook_id
