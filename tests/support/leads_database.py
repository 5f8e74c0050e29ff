"""
The connection `leads`, of any DB-API driver.

A conftest makes the fixture known to the tests beside it, as with `tests.support.databases`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook

from zbl_provider.hooks import rows

if TYPE_CHECKING:
    from collections.abc import Callable


class _Hook(DbApiHook):
    """A hook of Airflow's kind for a driver that has none here."""

    conn_name_attr = "conn_id"

    def __init__(self, connect: Callable[[], Any]) -> None:
        super().__init__()
        self._connect = connect

    def get_conn(self) -> Any:
        return self._connect()


@pytest.fixture
def use(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], Any]], str]:
    """Give a function that has the connection `leads` connect by the given function."""

    def use(connect: Callable[[], Any]) -> str:
        monkeypatch.setenv("AIRFLOW_CONN_LEADS", json.dumps({"conn_type": "generic"}))
        monkeypatch.setattr(rows, "database", lambda _conn_id: _Hook(connect))
        return "leads"

    return use
