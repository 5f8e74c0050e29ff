"""The page while the delivery log does not answer, and Airflow's own routes beside it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Self

import httpx
import pytest
from sqlalchemy import make_url, text

from tests.integration.plugin.conftest import HOST, Site, simple_user
from tests.support.databases import postgres
from zbl_provider.exceptions import DeliveryLogUnavailable
from zbl_provider.log.store import DeliveryLog
from zbl_provider.plugin.api import deps

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["postgres"]

IN_FLIGHT = 100


@pytest.fixture
def site(airflow) -> Site:
    """Give the page without a log of the test's own: it opens the one that is set."""
    (page,) = [route.app for route in airflow.routes if getattr(route, "path", "") == "/zbl"]
    page.dependency_overrides = {}
    return Site(airflow, page, log=None, user=simple_user)


@pytest.fixture
def dark():
    """Give a port that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0), backlog=256) as server:
        yield server.getsockname()[1]


@pytest.fixture
def opened(monkeypatch):
    """Give a function that points the page to a log, which it has not opened yet."""

    def point(url: str) -> None:
        parts = make_url(url)
        connection = {
            "conn_type": "postgres",
            "host": parts.host or parts.query.get("host"),
            "port": parts.port,
            "login": parts.username,
            "password": parts.password,
            "schema": parts.database,
        }
        monkeypatch.setenv("AIRFLOW_CONN_ZBL_LOG", json.dumps(connection))
        monkeypatch.setenv("AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID", "zbl_log")
        deps._opened.cache_clear()
        deps.ABSENCE.end()

    yield point
    deps._opened.cache_clear()
    deps.ABSENCE.end()


async def _crowd(
    site, count: int, then: Callable[[], None] = lambda: None
) -> tuple[list[int], float, float]:
    """
    Return what so many requests are answered, how long they take, and one of Airflow's own.

    :param then: called once Airflow's own has been answered
    """
    cookies = dict(site.as_("vera").cookies)
    transport = httpx.ASGITransport(app=site.airflow, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url=HOST, cookies=cookies) as client:
        began = time.monotonic()
        page = [
            asyncio.create_task(client.get("/zbl/api/deliveries", timeout=60)) for _ in range(count)
        ]
        await asyncio.sleep(0.5)
        asked = time.monotonic()
        own = await client.get("/api/v2/dags", timeout=60)
        own_seconds = time.monotonic() - asked
        assert own.status_code == 200
        then()
        statuses = [answer.status_code for answer in await asyncio.gather(*page)]
        return statuses, time.monotonic() - began, own_seconds


async def test_a_dark_log_stalls_no_route_of_airflow(site, dark, opened):
    """A host that accepts and never answers costs the page alone, and it a short time (7.5)."""
    opened(f"postgresql://zbl:zbl@127.0.0.1:{dark}/zbl")
    statuses, seconds, own_seconds = await _crowd(site, IN_FLIGHT)
    assert set(statuses) == {503}
    assert own_seconds < 1
    assert seconds < 15
    # What is known needs no thread.
    statuses, seconds, _ = await _crowd(site, 1)
    assert (statuses, seconds < 2) == ([503], True)


@pytest.mark.timeout(120)
async def test_a_frozen_log_is_back_by_itself(site, postgres, opened):
    """A log that freezes after it was opened is given up, and found again when it answers (7.5)."""
    opened(postgres)
    assert (await _crowd(site, 1))[0] == [200]
    backends = _backends(postgres)
    for pid in backends:
        os.kill(pid, signal.SIGSTOP)
    try:
        statuses, seconds, own_seconds = await _crowd(site, IN_FLIGHT)
    finally:
        for pid in backends:
            os.kill(pid, signal.SIGCONT)
    assert own_seconds < 1
    assert seconds < 20
    assert 503 in statuses
    until = time.monotonic() + 20
    while (await _crowd(site, 1))[0] != [200]:
        assert time.monotonic() < until


def _backends(url: str) -> list[int]:
    log = DeliveryLog(url)
    others = text("SELECT pid FROM pg_stat_activity WHERE usename IS NOT NULL AND pid <> :own")
    with log._engine.connect() as connection:
        own = connection.scalar(text("SELECT pg_backend_pid()"))
        pids = list(connection.scalars(others, {"own": own}))
    log.close()
    return pids


class Slow:
    """
    Stands before a log's database, and passes each of its answers on after a while.

    :param url: of the database
    """

    def __init__(self, url: str) -> None:
        parts = make_url(url)
        host = parts.host or str(parts.query["host"])
        self._path = f"{host}/.s.PGSQL.{parts.port or 5432}" if host.startswith("/") else None
        self._server = (host, parts.port or 5432)
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.seconds = 0.0
        port = self._listening.getsockname()[1]
        self.url = parts.set(host="127.0.0.1", port=port, query={}).render_as_string(
            hide_password=False
        )

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listening.close()

    def hurry(self) -> None:
        """Pass everything on at once from now on."""
        self.seconds = 0.0

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self._path:
                    database = socket.socket(socket.AF_UNIX)
                    database.connect(self._path)
                else:
                    database = socket.create_connection(self._server)
                for ends in ((client, database, False), (database, client, True)):
                    threading.Thread(target=self._pass_on, args=ends, daemon=True).start()

    def _pass_on(self, source: socket.socket, to: socket.socket, slowly: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if slowly:
                    time.sleep(self.seconds)
                to.sendall(data)
        for end in (source, to):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


async def test_a_slow_log_stalls_no_route_of_airflow(site, postgres, opened):
    """A log that takes a second for an answer costs the page alone, as long as it does (7.5)."""
    with Slow(postgres) as slow:
        opened(slow.url)
        assert (await _crowd(site, 1))[0] == [200]
        slow.seconds = 1.0
        statuses, seconds, own_seconds = await _crowd(site, IN_FLIGHT, then=slow.hurry)
        assert own_seconds < 1
        assert seconds < 15
        assert set(statuses) <= {200, 503}
        assert statuses.count(503) > IN_FLIGHT / 2
        assert (await _crowd(site, 1))[0] == [200]


async def test_a_locked_log_stalls_no_route_of_airflow(site, postgres, opened):
    """What another transaction has locked is not waited for (Contract 7.5)."""
    opened(postgres)
    assert (await _crowd(site, 1))[0] == [200]
    locker = DeliveryLog(postgres)
    with locker._engine.begin() as connection:
        connection.execute(text("LOCK TABLE zbl_delivery IN ACCESS EXCLUSIVE MODE"))
        statuses, seconds, own_seconds = await _crowd(site, IN_FLIGHT)
    locker.close()
    assert set(statuses) == {503}
    assert own_seconds < 1
    assert seconds < 15
    assert (await _crowd(site, 1))[0] == [200]


def test_an_absence_is_remembered_and_one_request_at_a_time_tries_again():
    """While a failure is known nobody waits for it; then one looks for all (Contract 7.5)."""
    clock = [0.0]
    absence = deps.Absence(3, monotonic=lambda: clock[0])
    absence.check()
    absence.note(DeliveryLogUnavailable(log="log", problem="gone"))
    with pytest.raises(DeliveryLogUnavailable):
        absence.check()
    clock[0] = 3.1
    absence.check()
    with pytest.raises(DeliveryLogUnavailable):
        absence.check()
    absence.end()
    absence.check()
