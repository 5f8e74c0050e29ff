"""A run as the grid shows it: red with the reason, green after the cause is fixed and cleared."""

import pytest

from tests.browser.conftest import CRM, REFUSED
from tests.support.receiver import Reply
from tests.support.rest import wait_for

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]

DAG = "zbl_scheduled_pull"


def test_a_failed_task_says_what_to_do_and_turns_green_after_a_clear(site, page):
    """Error, fix, clear, resend: all of it in Airflow's own pages (Contract 4.5 and 4.7)."""
    site.rest.call("PATCH", f"/api/v2/dags/{DAG}", {"is_paused": False})
    first = wait_for("the scheduled run", lambda: _first_run(site), seconds=90)
    assert site.rest.wait_for_run(DAG, first) == "failed"
    page.set_viewport_size({"width": 1280, "height": 800})
    task = f"{site.airflow.url}/dags/{DAG}/runs/{first}/tasks/dispatch_leads"
    page.goto(task)
    page.get_by_text("Fix the cause, then clear this task").first.wait_for()
    page.keyboard.press("w")  # Airflow's key for long lines to be wrapped
    # The traceback, with this machine's paths, is cut off.
    traceback = page.get_by_text('File "').first.bounding_box()
    clip = {"x": 0, "y": 0, "width": 1280, "height": traceback["y"]}
    site.picture(page, "task-failed", clip=clip)

    site.receiver.answer = lambda _: Reply()
    site.rest.clear(DAG, first, "dispatch_leads")
    assert site.rest.wait_for_run(DAG, first) == "success"
    sent = [request.lead_id for request in site.receiver.received if request.path == CRM]
    assert sorted(set(sent)) == [f"lead-{n:04}" for n in range(60)]
    assert {lead for lead in sent if sent.count(lead) > 1} == REFUSED

    second = site.rest.trigger(DAG)
    assert site.rest.wait_for_run(DAG, second) == "success"
    page.goto(f"{site.airflow.url}/dags/{DAG}/runs/{first}")
    page.get_by_text("dispatch_leads").first.wait_for()
    page.wait_for_timeout(1500)
    site.picture(page, "grid")


def _first_run(site) -> str | None:
    query = "run_type=scheduled&order_by=id&limit=1"
    runs = site.rest.call("GET", f"/api/v2/dags/{DAG}/dagRuns?{query}")["dag_runs"]
    return runs[0]["dag_run_id"] if runs else None
