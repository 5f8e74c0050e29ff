"""The page under the FAB auth manager, whose roles have fewer rights than they seem to (8.10)."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
from urllib.parse import urljoin, urlsplit

import pytest
from airflow.models.log import Log as AuditLog
from airflow.utils.session import create_session
from sqlalchemy import select

from tests.integration.plugin.conftest import DAGS, HOST, Site, page_of
from tests.support.fab import MANAGER, add_users
from zbl_provider.cli.check import findings
from zbl_provider.log.model import Status
from zbl_provider.plugin import address

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
    from fastapi import FastAPI

READ, EDIT = "can_read", "can_edit"
RUNS, INSTANCES = "DAG Runs", "Task Instances"
ONE_DAG = [(READ, f"DAG:{DAGS['crm']}"), (READ, RUNS), (READ, INSTANCES)]
OWN_ROLES = {
    "Sees one Dag": ONE_DAG,
    "Edits one Dag": [*ONE_DAG, (EDIT, f"DAG:{DAGS['crm']}"), (EDIT, RUNS), (EDIT, INSTANCES)],
    "Edits Dags alone": [
        (READ, "DAGs"), (EDIT, "DAGs"), (READ, RUNS), (EDIT, RUNS), (READ, INSTANCES),
    ],
    "Reads Dags alone": [(READ, "DAGs")],
    "Reads plugins": [*ONE_DAG, (READ, "Plugins")],
}  # fmt: skip
USERS = {
    "ada": "Admin",
    "olga": "Op",
    "uwe": "User",
    "vera": "Viewer",
    "otto": "Sees one Dag",
    "emma": "Edits one Dag",
    "dora": "Edits Dags alone",
    "rita": "Reads Dags alone",
    "petra": "Reads plugins",
    "nora": "Public",
}
READERS = {"ada", "olga", "uwe", "vera", "otto", "emma", "dora", "petra"}
READERS_OF_ALL = READERS - {"otto", "emma", "petra"}
EDITORS = {"ada", "olga", "uwe", "emma"}
EDITORS_OF_ALL = EDITORS - {"emma"}
TESTERS = {"ada", "olga"}
SHOWN_PLUGINS = {"ada", "olga", "petra"}


@pytest.fixture(scope="session")
def under_fab() -> tuple[FastAPI, FabAuthManager]:
    """Give the application of an API server with FAB's roles and users, and its auth manager."""
    from airflow.api_fastapi.app import _AuthManagerState, create_app, get_auth_manager
    from airflow.utils.db import initdb

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_AuthManagerState, "instance", None)
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", MANAGER)
        initdb()
        airflow = create_app(apps="core")
        manager = get_auth_manager()
    add_users(manager, OWN_ROLES, USERS)
    return airflow, manager


@pytest.fixture
def fab(under_fab, tmp_path, monkeypatch) -> Iterator[Site]:
    """Give the page under `FabAuthManager`; whose leads are whose is no matter of the database."""
    from airflow.api_fastapi.app import _AuthManagerState

    airflow, manager = under_fab
    monkeypatch.setattr(_AuthManagerState, "instance", manager)
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", MANAGER)
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    log_url = f"sqlite:///{tmp_path / 'log.db'}"
    with page_of(airflow, log_url, lambda name: _user(manager, name)) as site:
        yield site


def _user(manager, name: str):
    with manager.flask_app.app_context():
        return manager.security_manager.find_user(username=name)


def _allowed(fab, path: str, body: object = None) -> set[str]:
    """Return to whom a route is not closed."""
    return {name for name in USERS if _status(fab, name, path, body) != 403}


def _status(fab, name: str, path: str, body: object = None) -> int:
    method = "GET" if body is None else "POST"
    answer = fab.as_(name).request(method, path, json=body)
    assert answer.status_code < 500
    return answer.status_code


@pytest.mark.parametrize("path", ["", "static/main.js", "api/deliveries"])
def test_nobody_gets_in_without_a_login(fab, path):
    """Under FAB, too, the page answers only users whom Airflow has authenticated (7.2)."""
    assert fab.as_(None).get(f"/zbl/{path}").status_code == 401


def test_a_user_who_is_no_longer_active_gets_nothing(fab, under_fab):
    """A session outlives nobody's account (Contract 7.2)."""
    _, manager = under_fab
    nora = fab.as_("nora")
    assert nora.get("/zbl/").status_code == 200
    with manager.flask_app.app_context():
        user = manager.security_manager.find_user(username="nora")
        user.active = False
        manager.security_manager.update_user(user)
    manager.cache.clear()
    try:
        assert nora.get("/zbl/").status_code == 401
    finally:
        with manager.flask_app.app_context():
            user.active = True
            manager.security_manager.update_user(user)
        manager.cache.clear()


@pytest.mark.parametrize(
    "route",
    [
        "deliveries",
        "deliveries.csv",
        "deliveries/{lead}",
        "funnel",
        "activity",
        "resendable",
        "waiting",
        "integrations",
    ],
)
def test_leads_are_shown_to_those_who_may_read_task_instances(fab, route):
    """No route shows a lead to a role that reads Dags alone (Contract 8.10)."""
    assert _allowed(fab, f"/zbl/api/{route.format(lead=fab.lead_in_error('crm'))}") == READERS


def test_who_may_read_one_dag_sees_its_leads_alone(fab):
    """Leads of other Dags are neither shown nor counted (Contract 7.2, 8.10)."""
    make = fab.lead_in_error("make")
    assert _allowed(fab, f"/zbl/api/deliveries/{make}") - {"rita", "nora"} == READERS
    for name in ("otto", "emma", "petra"):
        user = fab.as_(name)
        assert user.get(f"/zbl/api/deliveries/{make}").status_code == 404
        rows = user.get("/zbl/api/deliveries?limit=200").json()["rows"]
        assert {row["run"]["dag_id"] for row in rows} == {DAGS["crm"]}
        assert sum(user.get("/zbl/api/funnel").json().values()) == len(rows)
        assert [
            integration["name"] for integration in user.get("/zbl/api/integrations").json()
        ] == ["crm"]
        assert "make" not in user.get("/zbl/api/deliveries.csv").text


@pytest.mark.parametrize("route", ["resend", "send-now", "forget", "deliveries/{lead}/payload"])
def test_leads_are_sent_and_their_payload_shown_by_those_who_may_clear_tasks(fab, route):
    """The right to edit Dags without their task instances changes nothing (Contract 8.10)."""
    body = {"runs": []} if route == "forget" else {"filter": {}}
    path = f"/zbl/api/{route.format(lead=fab.lead_in_error('crm'))}"
    assert _allowed(fab, path, body) == EDITORS


def test_only_leads_of_dags_that_may_be_edited_are_resent(fab):
    """Who edits one Dag resends its leads, and is refused those of another (7.2, 8.10)."""
    emma = fab.as_("emma")
    crm, make = fab.lead_in_error("crm"), fab.lead_in_error("make")
    assert emma.post("/zbl/api/resend", json={"ids": [crm, make]}).status_code == 403
    assert emma.post(f"/zbl/api/deliveries/{make}/payload", json={}).status_code == 404
    runs = emma.post("/zbl/api/resend", json={"filter": {}}).json()["runs"]
    assert {run["dag_id"] for run in runs} == {DAGS["crm"]}
    assert fab.log.reader.delivery(crm).row.status is Status.PENDING
    assert fab.log.reader.delivery(make).row.status is Status.ERROR


@pytest.mark.parametrize(
    ("name", "path", "body", "right"),
    [
        ("rita", "/zbl/api/deliveries", None, "may not read the task instances of any Dag"),
        ("dora", "/zbl/api/resend", {"filter": {}}, "may not edit the task instances of any Dag"),
        (
            "emma",
            "/zbl/api/integrations/make/hold",
            {},
            "may not edit the task instances of every Dag that sends to make",
        ),
        ("uwe", "/zbl/api/integrations/crm/test", {}, "may not test the connection crm"),
    ],
)
def test_a_refusal_names_the_right_that_is_missing(fab, name, path, body, right):
    """Who reads or edits Dags is told which right it is that he or she lacks (Contract 8.10)."""
    answer = fab.as_(name).request("GET" if body is None else "POST", path, json=body)
    assert answer.status_code == 403
    assert right in answer.json()["detail"]


@pytest.mark.parametrize("act", ["hold", "resume"])
def test_an_integration_is_held_by_those_who_may_edit_all_dags_that_send_to_it(fab, act):
    """One Dag's editor holds what that Dag alone sends to (Contract 7.2, 8.10)."""
    assert _allowed(fab, f"/zbl/api/integrations/crm/{act}", {}) == EDITORS
    assert _allowed(fab, f"/zbl/api/integrations/make/{act}", {}) == EDITORS_OF_ALL


def test_test_leads_are_sent_by_those_who_may_test_connections(fab):
    """User edits Dags, and may read no connection: it is not offered the button (1.6, 8.10)."""
    assert _allowed(fab, "/zbl/api/integrations/crm/test", {}) == TESTERS
    for name in READERS:
        crm = fab.as_(name).get("/zbl/api/integrations").json()[0]
        assert (crm["name"], crm["may_test"]) == ("crm", name in TESTERS)
        assert crm["may_change"] == (name in EDITORS)


@pytest.mark.parametrize("name", USERS)
def test_the_page_grants_what_airflows_own_pages_grant(fab, name):
    """For every role and Dag: a lead is shown, or resent, where its task may be seen, or cleared.

    Airflow's own routes say so for the same session (Contract 8.10).
    """
    user = fab.as_(name)
    rows = user.get("/zbl/api/deliveries?limit=200").json().get("rows", [])
    fab.grants_as_airflow(user, rows)
    tested = user.post("/api/v2/connections/test", json={"connection_id": "x", "conn_type": "no"})
    assert (tested.status_code != 403) == (name in TESTERS)


@pytest.mark.parametrize("name", USERS)
def test_a_tasks_link_never_leads_to_a_page_that_the_ui_does_not_show(fab, name):
    """Whom the UI refuses its list of plugins, the link takes to the page by itself (8.3, 8.10)."""
    user = fab.as_(name)
    link = address.page_of(HOST, dag_id=DAGS["crm"], task_id="to_crm", run_id="r")
    target = urljoin(link, user.get(link, follow_redirects=False).headers["location"])
    shown = user.get("/api/v2/plugins").status_code == 200
    assert shown == (name in SHOWN_PLUGINS)
    expected = "/plugin/lead-deliveries" if shown else "/zbl/"
    assert urlsplit(target).path == expected
    assert "dag=sends_to_crm" in target
    assert shown or user.get(target).status_code == 200


def test_the_right_to_plugins_outlives_a_restart(under_fab):
    """What people are told to give to Viewer, a start of Airflow does not take away (8.10)."""
    _, manager = under_fab
    with manager.flask_app.app_context():
        security = manager.security_manager
        viewer, plugins = security.find_role("Viewer"), security.get_permission(READ, "Plugins")
        assert plugins not in viewer.permissions
        security.add_permission_to_role(viewer, plugins)
        try:
            security.sync_roles()
            assert plugins in security.find_role("Viewer").permissions
        finally:
            security.remove_permission_from_role(security.find_role("Viewer"), plugins)


def test_the_check_of_the_set_up_names_the_roles_without_the_page(fab, under_fab):
    """Each role that may see leads and not the navigation's entry is named, until it may (8.9)."""
    without = ["Edits Dags alone", "Edits one Dag", "Sees one Dag", "User", "Viewer"]
    finding = {entry.part: entry for entry in findings()}["roles"]
    assert finding.level == "warning"
    assert finding.finding.startswith(f"{', '.join(without)} may see leads")
    _, manager = under_fab
    with manager.flask_app.app_context():
        security = manager.security_manager
        plugins = security.get_permission(READ, "Plugins")
        for name in without:
            security.add_permission_to_role(security.find_role(name), plugins)
        try:
            finding = {entry.part: entry for entry in findings()}["roles"]
        finally:
            for name in without:
                security.remove_permission_from_role(security.find_role(name), plugins)
    assert finding.level == "ok"


def test_the_audit_log_and_the_page_name_who_did_it(fab):
    """A FAB user is written down by the name that he or she signs in with (Contract 8.8)."""
    assert _status(fab, "emma", "/zbl/api/integrations/crm/hold", {}) == 200
    assert fab.log.integration("crm").held_by == "emma"
    with create_session() as session:
        held = session.scalars(select(AuditLog).where(AuditLog.event == "zbl.hold")).all()
        assert (held[-1].owner, json.loads(held[-1].extra)) == ("emma", {"integration": "crm"})
