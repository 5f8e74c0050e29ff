"""Every Dag of `dags/` does what its documentation says, set up as that says (Contract 8.5)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.commands import ROOT, blocks
from tests.support.rest import ApiError, wait_for

TABLE = ["1042", "1043", "1044"]


def test_the_scheduled_pull_sends_what_has_qualified(examples):
    """Unpaused, it sends the qualified leads without anybody's doing."""
    run = examples.first_run("zbl_scheduled_pull")

    assert examples.rest.wait_for_run("zbl_scheduled_pull", run) == "success"
    assert set(TABLE) <= set(examples.arrivals("zbl_webhook_default"))


def test_the_fan_out_sends_to_each_integration_what_its_filters_let_pass(examples):
    """One query, four connections with filters; the one that fails hinders no other."""
    run = examples.first_run("zbl_fan_out")

    assert examples.rest.wait_for_run("zbl_fan_out", run) == "failed"
    tasks = examples.rest.tasks("zbl_fan_out", run)
    assert {task["rendered_map_index"]: task["state"] for task in tasks} == {
        "zapier": "success",
        "make": "success",
        "n8n": "failed",
        "internal_api": "success",
    }
    assert examples.arrivals("zapier") == ["1042", "1043"]
    assert examples.arrivals("make") == ["1042"]
    assert {request.lead_id for request in examples.received("n8n")} == {"1042"}
    assert examples.arrivals("internal_api") == TABLE
    (header,) = {r.headers["authorization"] for r in examples.received("internal_api")}
    assert header == "Bearer change-me"


@pytest.fixture
def typed(examples):
    """Run the commands of docs/examples.md by which an application asks for one lead."""
    (block,) = [b for b in blocks((ROOT / "docs/examples.md").read_text()) if "curl" in b]

    def run(lead_id):
        airflow = examples.airflow
        # The machine's own curl; where there is none, one that can do as much as is needed.
        folders = (os.environ["PATH"], Path(__file__).parent / "bin", Path(sys.executable).parent)
        environment = {
            "PATH": ":".join(map(str, folders)),
            "NO_PROXY": "localhost",
            "AIRFLOW": airflow.url,
            "NAME": "admin",
            "PASSWORD": airflow.password,
        }
        done = subprocess.run(
            ["sh", "-eu", "-c", block.replace("1042", lead_id)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, json.loads(done.stdout)

    return run


def test_one_lead_is_sent_by_the_documented_curl(examples, typed):
    """An application names a lead through Airflow's REST API, and just that lead goes out."""
    code, run = typed("1042")
    assert code == 0, run

    assert examples.rest.wait_for_run("zbl_one_lead", run["dag_run_id"]) == "success"
    assert examples.arrivals("crm") == ["1042"]
    rendered = examples.rest.rendered("zbl_one_lead", run["dag_run_id"], "dispatch_lead")
    assert "Ana" not in json.dumps(rendered)


def test_one_lead_that_is_not_there_is_looked_for_again(examples, typed):
    """A run that finds no lead is no success: the application would think it was sent."""
    _, run = typed("4711")

    def state():
        return examples.rest.task("zbl_one_lead", run["dag_run_id"], "dispatch_lead")["state"]

    wait_for("a retry", lambda: state() == "up_for_retry", seconds=60)
    log = examples.rest.log("zbl_one_lead", run["dag_run_id"], "dispatch_lead")
    assert "The table has no lead of this id" in log


@pytest.mark.parametrize("conf", [{}, {"lead_id": 1042}, {"lead_id": "1 OR 1=1"}])
def test_what_is_no_lead_id_is_refused(examples, conf):
    """Airflow's API answers 400, and names the parameter, to a run that could not work."""
    with pytest.raises(ApiError) as refused:
        examples.rest.trigger("zbl_one_lead", conf=conf)

    assert refused.value.status == 400
    assert "lead_id" in refused.value.detail


def test_an_alert_tells_of_errors_and_a_clear_resends_them(examples):
    """The destination answers 404, people are told, mend it and clear: then the leads arrive."""
    run = examples.first_run("zbl_alert_and_resend")
    assert examples.rest.wait_for_run("zbl_alert_and_resend", run) == "failed"

    wait_for("the alert", lambda: examples.received("zbl_alerts"), seconds=30)
    (alert,) = [json.loads(request.body) for request in examples.received("zbl_alerts")]
    assert alert["event"] == "task.failed"
    assert "3 of 3 leads were not delivered to newsletter" in alert["message"]
    assert "answered 404" in alert["message"]
    assert alert["url"].startswith(f"{examples.airflow.url}/dags/zbl_alert_and_resend/runs/")
    assert examples.arrivals("newsletter") == []

    examples.broken.remove("newsletter")
    examples.rest.clear("zbl_alert_and_resend", run, "dispatch_leads")
    assert examples.rest.wait_for_run("zbl_alert_and_resend", run) == "success"
    assert set(TABLE) <= set(examples.arrivals("newsletter"))
    assert len(examples.received("zbl_alerts")) == 1


def test_a_lead_leaves_when_it_qualifies(examples):
    """A watcher notices the row, and the lead is sent, with no schedule and by nobody (8.2)."""
    run = examples.first_run("zbl_event_driven")
    assert examples.rest.wait_for_run("zbl_event_driven", run) == "success"
    assert set(TABLE) <= set(examples.arrivals("sales"))

    examples.qualify("1045")
    wait_for("lead 1045", lambda: "1045" in examples.arrivals("sales"), seconds=90)


def test_a_task_that_stays_sends_what_qualifies(examples):
    """One run sends lead after lead, each within seconds, and is still there (Contract 4.12)."""
    run = examples.first_run("zbl_follow")
    wait_for(
        "the first leads", lambda: set(TABLE) <= set(examples.arrivals("callback")), seconds=90
    )
    for lead_id in ("1046", "1047"):
        examples.qualify(lead_id)
        wait_for(lead_id, lambda lead=lead_id: lead in examples.arrivals("callback"), seconds=30)
    assert examples.rest.task("zbl_follow", run, "dispatch_leads")["state"] == "running"
