"""`airflow zbl …`, as an operator types it, and the link from the task to its leads."""

import json
from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.support.receiver import Reply
from tests.support.rest import wait_for
from tests.system.case import EMAIL, Scenario, lead

RECEIVER = SimpleNamespace(mended=False)


def answer(request):
    """Refuse what is bad until the receiver is mended."""
    return Reply(200 if RECEIVER.mended or not request.lead_id.startswith("bad") else 401)


def numbers(zbl, *filters):
    rows = json.loads(zbl("deliveries", "list", "--dag-id", "commanded", *filters, "-o", "json"))
    return {row["lead"]: row["id"] for row in rows}


@pytest.mark.timeout(900)  # each command starts an Airflow of its own
@pytest.mark.scenario(
    Scenario(
        name="commanded",
        rows=[lead(name, email=EMAIL) for name in ("bad-1", "bad-2", "bad-3", "ok")],
        answer=answer,
    )
)
def test_what_a_shell_can_do(case, zbl):
    """Listing, resending with its clear, holding, erasing: all for real, with exit codes (8.4)."""
    assert case.end(seconds=240) == "failed"
    ids = _looks(case, zbl)
    _resends(case, zbl, ids)
    _holds(zbl)
    _erases(case, zbl)


def _looks(case, zbl):
    ids = numbers(zbl, "--run-id", case.run_id, "--status", "error", "--since", "1h")
    assert set(ids) == {"bad-1", "bad-2", "bad-3"}
    table = zbl("deliveries", "show", ids["bad-2"])
    assert "answered 401 Unauthorized" in table
    assert case.run_id in table
    return ids


def _resends(case, zbl, ids):
    RECEIVER.mended = True
    said = zbl("deliveries", "resend", ids["bad-2"], "--yes")
    assert "1 lead will be sent again" in said
    assert "1 task cleared" in said
    wait_for("the resend", lambda: case.received_of("bad-2")[1:], seconds=120)
    case.end(seconds=240)  # red again: two of its leads are in error still
    assert case.arrivals() == ["bad-2", "ok"]
    zbl("deliveries", "resend", "--integration", "commanded", "--lead-id", "bad-1", "--yes")
    wait_for("the next resend", lambda: case.received_of("bad-1")[1:], seconds=120)
    case.end(seconds=240)
    assert case.arrivals() == ["bad-1", "bad-2", "ok"]


def _holds(zbl):
    zbl("integrations", "hold", "commanded", "--yes")
    listed = json.loads(zbl("integrations", "list", "-o", "json"))
    [own] = [integration for integration in listed if integration["integration"] == "commanded"]
    assert own["state"].startswith("held by")
    assert (own["error"], own["delivered"]) == ("1", "3")
    assert "is resumed" in zbl("integrations", "resume", "commanded", "--yes")


def _erases(case, zbl):
    assert "Erased from 1 delivery" in zbl("deliveries", "erase", "bad-1", "--yes")
    assert "bad-1" not in case.log_rows()
    assert "knows no lead" in zbl("deliveries", "erase", "bad-1", "--yes", code=1)


@pytest.mark.scenario(Scenario(name="linked", rows=[lead("one", email=EMAIL)]))
def test_the_task_links_to_its_leads(case):
    """The task's page has a link to its leads in the log, which names no lead (8.3, 4.3)."""
    assert case.end() == "success"
    path = f"/api/v2/dags/linked/dagRuns/{case.run_id}/taskInstances/send/links"
    [(name, link)] = case.rest.call("GET", path)["extra_links"].items()
    assert name == "Lead deliveries"
    assert urlsplit(link).path == "/zbl/leads"
    filters = {"dag": ["linked"], "task": ["send"], "run": [case.run_id], "period": ["all"]}
    assert parse_qs(urlsplit(link).query) == filters
