"""The page under Keycloak's auth manager, which asks its server about each right (8.10)."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.integration.plugin.conftest import DAGS, Site, page_of
from tests.support.keycloak import CLIENT, MANAGER, REALM, Keycloak, Question, access_token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.testclient import TestClient

pytest.importorskip("airflow.providers.keycloak", reason="Keycloak's provider is not installed")

CRM = DAGS["crm"]
INSTANCES = "TASK_INSTANCE"
USERS = ("ada", "vera", "otto", "emma", "rita", "dora", "nora")
READERS = {"ada", "vera", "otto", "emma", "dora"}
EDITORS = {"ada", "emma"}


def _grants(question: Question) -> bool:
    """Tell who may what: ada all, otto and emma one Dag, rita and dora not its task instances."""
    user, resource, scope, dag, entity = (
        question.user,
        question.resource,
        question.scope,
        question.id,
        question.entity,
    )
    if user == "ada":
        return True
    if resource != "Dag":
        return False
    reads = scope in {"GET", "LIST"}
    return {
        "vera": reads,
        "otto": reads and dag in {None, CRM},
        "emma": dag in {None, CRM},
        "rita": reads and entity is None,
        "dora": reads or entity is None,
    }.get(user, False)


@pytest.fixture(scope="module")
def keycloak() -> Iterator[Keycloak]:
    """Give a server that knows the users' permissions."""
    with Keycloak(_grants) as server:
        yield server


@pytest.fixture(scope="module")
def under_keycloak(keycloak):
    """Give the application of an API server with Keycloak's auth manager, and that one."""
    from airflow.api_fastapi.app import _AuthManagerState, create_app, get_auth_manager
    from airflow.utils.db import initdb

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_AuthManagerState, "instance", None)
        patch.setenv("AIRFLOW__CORE__AUTH_MANAGER", MANAGER)
        for name, value in {
            "CLIENT_ID": CLIENT,
            "CLIENT_SECRET": "s",
            "REALM": REALM,
            "SERVER_URL": keycloak.url,
        }.items():
            patch.setenv(f"AIRFLOW__KEYCLOAK_AUTH_MANAGER__{name}", value)
        initdb()
        airflow = create_app(apps="core")
        yield airflow, get_auth_manager()


@pytest.fixture
def site(keycloak, under_keycloak, tmp_path, monkeypatch) -> Iterator[Site]:
    """Give the page under `KeycloakAuthManager`."""
    from airflow.api_fastapi.app import _AuthManagerState
    from airflow.providers.keycloak.auth_manager import cache

    airflow, manager = under_keycloak
    monkeypatch.setattr(_AuthManagerState, "instance", manager)
    monkeypatch.setenv("AIRFLOW__CORE__AUTH_MANAGER", MANAGER)
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    cache._cache.clear()
    keycloak.asked.clear()
    with page_of(airflow, f"sqlite:///{tmp_path / 'log.db'}", _user) as site:
        yield site


def _user(name: str):
    from airflow.providers.keycloak.auth_manager.user import KeycloakAuthManagerUser

    return KeycloakAuthManagerUser(
        user_id=name, name=name, access_token=access_token(name), refresh_token=None
    )


def _as(site, name: str, of: str | None = None) -> TestClient:
    """Return a client with what Keycloak's sign-in leaves in a browser."""
    client = site.as_(name)
    client.cookies.set("_access_token", access_token(of or name))
    return client


@pytest.mark.parametrize("path", ["", "static/main.js", "api/deliveries"])
def test_nobody_gets_in_without_a_login(site, path):
    """Under Keycloak, too, the page answers only users whom Airflow has authenticated (7.2)."""
    assert site.as_(None).get(f"/zbl/{path}").status_code == 401
    # Airflow's session alone, without Keycloak's token beside it, or with somebody else's.
    assert site.as_("ada").get(f"/zbl/{path}").status_code == 401
    assert _as(site, "vera", of="ada").get(f"/zbl/{path}").status_code in {401, 403}


@pytest.mark.parametrize("name", USERS)
def test_the_page_grants_what_airflows_own_pages_grant(site, name):
    """For every user and Dag: a lead is shown, or resent, where its task may be seen, or cleared.

    Airflow's own routes say so for the same session (Contract 8.10).
    """
    user = _as(site, name)
    answer = user.get("/zbl/api/deliveries?limit=200")
    assert (answer.status_code == 200) == (name in READERS)
    rows = answer.json().get("rows", [])
    assert any(row["may_resend"] for row in rows) == (name in EDITORS)
    site.grants_as_airflow(user, rows)


def test_the_server_is_asked_once_for_each_right(site, keycloak):
    """All that a page asks for in one go takes one question about each right (8.10)."""
    ada = _as(site, "ada")
    for _ in range(2):
        for route in ("deliveries", "funnel", "activity", "integrations", "resendable"):
            assert ada.get(f"/zbl/api/{route}").status_code == 200
    assert set(Counter(keycloak.asked).values()) == {1}
    of_dags = {question for question in keycloak.asked if question.resource == "Dag"}
    assert of_dags == {
        Question("ada", "Dag", scope, dag, entity)
        for scope in ("GET", "PUT")
        for dag in DAGS.values()
        for entity in (None, INSTANCES)
    }
    of_connections = set(keycloak.asked) - of_dags
    assert of_connections == {
        Question("ada", "Connection", "POST", None, None),
        *(Question("ada", "Connection", "GET", name, None) for name in DAGS),
    }


def test_a_test_lead_is_offered_to_those_who_may_test_the_connection(site):
    """Who may edit a Dag alone is offered none, nor gets one sent (Contract 1.6)."""
    for name in EDITORS:
        user = _as(site, name)
        shown = user.get("/zbl/api/integrations").json()
        assert {integration["may_test"] for integration in shown} == {name == "ada"}
        test = user.post("/zbl/api/integrations/crm/test", json={})
        assert (test.status_code == 403) == (name != "ada")
