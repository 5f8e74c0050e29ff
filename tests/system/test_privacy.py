"""Personal data and secrets stay where they belong: markers are planted and searched."""

import base64
import json
from contextlib import suppress
from functools import partial

import pytest

from tests.support.receiver import Reply
from tests.support.rest import ApiError
from tests.system.case import Scenario, lead, tables

MARK, OTHER_MARK = "mqz7", "mkx9"  # in every personal value of a test, and in every secret
URL_MARK = "mkz4"  # in paths and queries: only Airflow's own Host field shows those
SIGNING_SECRET = "whsec_" + base64.b64encode(b"0123456789-0123456789-0123456789").decode()
BASIC = base64.b64encode(f"login:{MARK}-password".encode()).decode()
EVERY_SECRET = (MARK, SIGNING_SECRET, SIGNING_SECRET.removeprefix("whsec_"), BASIC)

AIRFLOWS_OWN = {"connection", "log"}
"""Tables in which Airflow shows the Host of a connection, and its audit log who saved it."""


def personal(mark):
    """Return fields of a lead, each with the mark in it."""
    return {
        "name": f"Zuleica {mark}-nome",
        "email": f"{mark}@example.com",
        "phone": f"+5511-{mark}",
        "company": f"{mark} Ltda.",
        "segment": f"{mark}-segment",
        "list_id": f"{mark}-list",
        "list_name": f"{mark} list",
        "custom_fields": json.dumps({"city": f"{mark}-city", "nested": [{"deep": f"{mark}-deep"}]}),
        "verifications": json.dumps({"cnpj_status": f"{mark}-status"}),
    }


SECRETS = {
    "connection": {"login": "login", "password": f"{MARK}-password"},
    "extra": {
        "secret_headers": {"X-Odd-Name": f"{MARK}-header", "Cookie": f"session={MARK}-cookie"},
        "signing_secret": SIGNING_SECRET,
    },
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
            lead("kept-invalid", **personal(MARK) | {"qualified_at": f"{MARK} o'clock"}),
            lead("kept-long", **personal(MARK) | {"list_id": MARK * 100}),
            lead("kept-odd", **personal(MARK) | {"custom_fields": f"{{{MARK}"}),
        ],
        answer=echo,
        url=f"/{URL_MARK}-path?token={URL_MARK}-query",
        **SECRETS,
    )
)
def test_no_personal_data_is_left_behind(case):
    """No personal value and no secret is in logs, databases, XCom or REST (1.5, 4.3, 6.4)."""
    assert case.end() == "failed"
    assert {id_: row["status"] for id_, row in case.log_rows().items()} == {
        "kept-delivered": "delivered",
        "kept-retried": "error",
        "kept-refused": "error",
        "kept-invalid": "invalid",
        "kept-long": "invalid",
        "kept-odd": "invalid",
    }
    sent = {request.lead_id for request in case.received}
    assert sent == {"kept-delivered", "kept-retried", "kept-refused"}
    assert all(request.headers["authorization"] == f"Basic {BASIC}" for request in case.received)

    # The ids may be seen, which shows that the search finds what is there.
    assert places(case, "kept-refused") > {"logs"}
    for secret in EVERY_SECRET:
        assert places(case, secret) == set(), secret
        assert answers_with(case, secret) == set(), secret
    # A catch-hook's path is a secret too; only the connection's own form shows it.
    assert places(case, URL_MARK) <= AIRFLOWS_OWN
    assert answers_with(case, URL_MARK) <= {"connection"}


def broken(name, **settings):
    """Return a scenario that fails before, or while, anything is sent."""
    rows = [lead("kept", **personal(MARK))]
    scenario = Scenario(name=name, rows=rows, **{**SECRETS, **settings})
    return pytest.param(marks=pytest.mark.scenario(scenario), id=name)


LINE_BREAK = {"secret_headers": {"X-Odd": f"{MARK}\r\nX-More: {MARK}"}}
PLAIN = {"host": f"http://localhost/hooks/{URL_MARK}-path?token={URL_MARK}-query"}
METADATA = {"host": f"https://169.254.169.254/hooks/{URL_MARK}-path?token={URL_MARK}-query"}


@pytest.mark.parametrize(
    (),
    [
        broken("private_query", leads="pg_leads"),
        broken("private_parameters"),
        broken("private_header", extra=LINE_BREAK),
        broken("private_url", connection=PLAIN),
        broken("private_blocked", connection=METADATA),
    ],
)
def test_what_cannot_work_is_told_without_data_or_secrets(case):
    """Exceptions of runs that fail show no value of a row, a parameter or a setting (1.5, 4.3)."""
    assert case.end() == "failed"
    assert case.received == []
    assert "LeadsDatabaseError" in case.task_log() or "AirflowFailException" in case.task_log()
    for secret in EVERY_SECRET:
        assert places(case, secret) == set(), secret
        assert answers_with(case, secret) == set(), secret
    assert places(case, URL_MARK) <= AIRFLOWS_OWN
    assert answers_with(case, URL_MARK) <= {"connection"}


@pytest.mark.scenario(
    Scenario(
        name="private_one",
        answer=lambda request: Reply(200 if request.before else 503),
        conf={"lead": {"id": "kept-one", **personal(OTHER_MARK)}},
        **SECRETS,
    )
)
def test_a_single_lead_is_not_shown(case):
    """A lead given to DispatchLeadOperator is in no rendered field, trigger, XCom or log (4.3)."""
    assert case.end() == "success"
    assert [request.status for request in case.received] == [503, 200]

    # The run's own conf is its author's: there the lead rests, and nowhere else, but that Airflow
    # itself writes every conf to its logs at DEBUG level.
    kept_in = places(case, OTHER_MARK)
    assert kept_in <= {"dag_run", "log", "logs"}, kept_in
    lines = [line for line in logs(case).splitlines() if OTHER_MARK in line]
    assert all("conf={" in line or "with dagrun.conf" in line for line in lines)
    rendered = case.rest.rendered("private_one", case.run_id, "send")
    assert "lead" in rendered
    assert OTHER_MARK not in str(rendered)
    assert answers_with(case, OTHER_MARK) <= {"log"}, "of Airflow, as above"
    for secret in EVERY_SECRET:
        assert places(case, secret) == set(), secret
        assert answers_with(case, secret) == set(), secret


def places(case, text):
    """Return where a text is found: tables, `logs`, `delivery log`."""
    text = text.lower()
    kept_in = {
        table
        for table, rows in tables(case.stage.databases["metadata"]).items()
        if any(text in str(value).lower() for row in rows for value in row.values())
    }
    home = case.stage.airflow.home
    for path in home.glob("zbl_delivery_log.db*"):
        # SQLite's side files go when the last connection is closed.
        with suppress(FileNotFoundError):
            if text.encode() in path.read_bytes().lower():
                kept_in.add("delivery log")
    return kept_in | ({"logs"} if text in logs(case) else set())


def logs(case):
    """Return all that Airflow's parts and the tasks have logged."""
    files = (path for path in (case.stage.airflow.home / "logs").rglob("*") if path.is_file())
    return "\n".join(path.read_text(errors="replace") for path in files).lower()


def answers_with(case, text):
    """Return which of the REST API's answers about the run and its connection show a text."""
    call = partial(case.rest.call, "GET")
    run = f"/api/v2/dags/{case.name}/dagRuns/{case.run_id}"
    task = f"{run}/taskInstances/send"
    paths = {
        "tasks": f"{run}/taskInstances",
        "task": task,
        "tries": f"{task}/tries",
        "XComs": f"{task}/xcomEntries",
        "returned": f"{task}/xcomEntries/return_value",
        "log": f"{task}/logs/{case.task()['try_number']}?full_content=true",
        "connection": f"/api/v2/connections/{case.name}",
    }
    return {name for name, path in paths.items() if text in _answer(call, path)}


def _answer(call, path):
    try:
        return json.dumps(call(path))
    except ApiError as error:
        return error.detail  # a failed task has returned nothing
