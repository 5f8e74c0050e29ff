"""Personal data and secrets stay where they belong: markers are planted and searched."""

import base64
import json

import pytest

from demo.receiver import Reply
from tests.system.case import Scenario, lead, tables

MARK, OTHER_MARK = "mqz7", "mkx9"  # in every personal value of a test, and in every secret


def personal(mark):
    """Return fields of a lead, each with the mark in it."""
    return {
        "name": f"Zuleica {mark}-nome",
        "email": f"{mark}@example.com",
        "phone": f"+5511-{mark}",
        "company": f"{mark} Ltda.",
        "segment": f"{mark}-segment",
    }


EXTRA = {
    "secret_headers": {"X-Odd-Name": f"{MARK}-header"},
    "signing_secret": "whsec_" + base64.b64encode(b"0123456789-0123456789-0123456789").decode(),
}


def echo(request):
    """Answer as a careless receiver does, with all that it was told."""
    status = {"kept-delivered": 200, "kept-retried": 503}.get(request.lead_id, 400)
    told = json.dumps({"headers": dict(request.headers), "body": request.body.decode()})
    return Reply(status, told.encode())


@pytest.mark.scenario(
    Scenario(
        name="private",
        rows=[
            lead("kept-delivered", **personal(MARK)),
            lead("kept-retried", **personal(MARK)),
            lead("kept-refused", **personal(MARK)),
            lead("kept-invalid", **personal(MARK), list_id="x" * 400, qualified_at="mqz7 o'clock"),
        ],
        answer=echo,
        connection={"description": "of the privacy test"},
        extra=EXTRA,
    )
)
def test_no_personal_data_is_left_behind(case):
    """No personal value and no secret is in logs, databases or XCom (1.5, 4.3, 6.4)."""
    assert case.end() == "failed"
    statuses = {id_: row["status"] for id_, row in case.log_rows().items()}
    assert statuses == {
        "kept-delivered": "delivered",
        "kept-retried": "error",
        "kept-refused": "error",
        "kept-invalid": "invalid",
    }

    # The ids may be seen, which shows that the search finds what is there.
    assert places(case, "kept-refused") > {"logs"}
    assert places(case, MARK) == set()
    # A catch-hook's path is a secret too; only the connection's own form shows it.
    assert places(case, case.path) <= {"connection", "log"}


@pytest.mark.scenario(
    Scenario(
        name="private_one",
        answer=lambda request: Reply(200 if request.before else 503),
        extra=EXTRA,
        conf={"lead": {"id": "kept-one", **personal(OTHER_MARK)}},
    )
)
def test_a_single_lead_is_not_shown(case):
    """A lead given to DispatchLeadOperator is in no rendered field, trigger, XCom or log (4.3)."""
    assert case.end() == "success"
    assert [request.status for request in case.received] == [503, 200]

    # The run's own conf is its author's: there the lead rests, and nowhere else.
    found = places(case, OTHER_MARK)
    assert found <= {"dag_run", "log"}, found
    rendered = case.rest.rendered("private_one", case.run_id, "send")
    assert "lead" in rendered
    assert OTHER_MARK not in str(rendered)
    assert OTHER_MARK not in case.task_log()


def places(case, text):
    """Return where a text is found: tables, `logs`, `delivery log`."""
    found = {
        table
        for table, rows in tables(case.stage.databases["metadata"]).items()
        if any(text in str(value).lower() for row in rows for value in row.values())
    }
    home = case.stage.airflow.home
    for path in home.glob("zbl_delivery_log.db*"):
        if text.encode() in path.read_bytes().lower():
            found.add("delivery log")
    return found | ({"logs"} if text in logs(case) else set())


def logs(case):
    """Return all that Airflow's parts and the tasks have logged."""
    files = (path for path in (case.stage.airflow.home / "logs").rglob("*") if path.is_file())
    return "\n".join(path.read_text(errors="replace") for path in files).lower()
