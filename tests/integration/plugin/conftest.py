"""The page's application inside of Airflow's own, with its real authentication."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.databases import log_url, postgres
from tests.support.seeding import INTEGRATIONS, seed
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import Status
from zbl_provider.log.store import DeliveryLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from fastapi import FastAPI
    from starlette.testclient import TestClient

__all__ = ["log_url", "postgres"]

NOW = datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC)
COUNT = 240
DAGS = {name: f"sends_to_{name}" for name in INTEGRATIONS}
HOST = "http://airflow.example.com"
ROLES = {"ada": "admin", "olga": "op", "uwe": "user", "vera": "viewer"}


@dataclass(slots=True)
class Site:
    """
    The application, and its log.

    :param airflow: the whole application of the API server
    :param page: the one that it mounts under /zbl
    :param user: gives the auth manager's own user of a name
    """

    airflow: FastAPI
    page: FastAPI
    log: DeliveryLog
    user: Callable[[str], Any]

    def as_(self, name: str | None) -> TestClient:
        """Return a client with the session cookie of a user; None is somebody without a login."""
        from airflow.api_fastapi.app import get_auth_manager
        from starlette.testclient import TestClient

        client = TestClient(self.airflow, base_url=HOST, raise_server_exceptions=False)
        if name is not None:
            client.cookies.set("_token", get_auth_manager().generate_jwt(self.user(name)))
        return client

    def lead_in_error(self, integration: str) -> int:
        """Return the number of a lead in error of an integration."""
        query = Query(status=Status.ERROR, integration=integration)
        return self.log.reader.deliveries(query, limit=1).rows[0].delivery_id

    def grants_as_airflow(self, user: TestClient, rows: list[dict[str, Any]]) -> None:
        """
        Compare the page with Airflow's own routes, for the same session and each Dag (8.10).

        :param user: with a session
        :param rows: the leads that the page shows this user
        """
        for integration, dag in DAGS.items():
            of_dag = [row for row in rows if row["run"]["dag_id"] == dag]
            tasks = user.get(f"/api/v2/dags/{dag}/dagRuns/~/taskInstances")
            assert bool(of_dag) == (tasks.status_code != 403)
            cleared = user.post(f"/api/v2/dags/{dag}/clearTaskInstances", json={"dry_run": True})
            assert any(row["may_resend"] for row in of_dag) == (cleared.status_code != 403)
            ids = [self.lead_in_error(integration)]
            resent = user.post("/zbl/api/resend", json={"ids": ids})
            assert (resent.status_code != 403) == (cleared.status_code != 403)


@contextmanager
def page_of(airflow: FastAPI, log_url: str, user: Callable[[str], Any]) -> Iterator[Site]:
    """Give the page of an Airflow, on a log with some hundreds of leads."""
    from zbl_provider.plugin.api.access import RIGHTS
    from zbl_provider.plugin.api.deps import the_log
    from zbl_provider.plugin.api.query import now

    (page,) = [route.app for route in airflow.routes if getattr(route, "path", "") == "/zbl"]
    log = DeliveryLog(log_url)
    seed(log, COUNT, NOW, days=6, dags=DAGS)
    page.dependency_overrides = {the_log: lambda: log, now: lambda: NOW}
    RIGHTS.forget()  # of another test
    yield Site(airflow, page, log, user)
    page.dependency_overrides = {}
    log.close()


def simple_user(name: str) -> SimpleAuthManagerUser:
    """Return a user of `SimpleAuthManager`."""
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    return SimpleAuthManagerUser(username=name, role=ROLES[name])


@pytest.fixture(scope="session")
def airflow() -> FastAPI:
    """Give the application of the API server."""
    os.environ["AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS"] = ",".join(
        f"{name}:{role}" for name, role in ROLES.items()
    )
    from airflow.api_fastapi.app import create_app
    from airflow.utils.db import initdb

    initdb()
    return create_app(apps="core")


@pytest.fixture
def site(airflow, log_url) -> Iterator[Site]:
    """Give the page under `SimpleAuthManager`."""
    with page_of(airflow, log_url, simple_user) as site:
        yield site


@pytest.fixture
def only(monkeypatch):
    """Give a function that restricts what users may do to some Dags."""
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager

    from zbl_provider.plugin.api.access import RIGHTS

    ordinary = SimpleAuthManager.is_authorized_dag

    def restrict(method: str, *dags: str) -> None:
        def decide(self, *, method, user, access_entity=None, details=None):
            if method == restricted and (details is None or details.id not in dags):
                return False
            return ordinary(
                self, method=method, user=user, access_entity=access_entity, details=details
            )

        restricted = method
        RIGHTS.forget()  # as after some seconds
        monkeypatch.setattr(SimpleAuthManager, "is_authorized_dag", decide)

    return restrict
