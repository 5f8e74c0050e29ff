"""Connections to real databases of leads, by the name of each."""

from __future__ import annotations

import json

import duckdb
import psycopg
import psycopg2
import pytest
from airflow.providers.common.sql.hooks.sql import DbApiHook
from sqlalchemy import make_url

from tests.support.databases import postgres
from zbl_provider.hooks import rows

__all__ = ["postgres"]


class _Hook(DbApiHook):
    """A hook of Airflow's kind for a driver that has none here."""

    conn_name_attr = "conn_id"

    def __init__(self, connect):
        super().__init__()
        self._connect = connect

    def get_conn(self):
        return self._connect()


@pytest.fixture
def use(monkeypatch):
    """Give a function that has the connection `leads` connect by the given function."""

    def use(connect):
        monkeypatch.setenv("AIRFLOW_CONN_LEADS", json.dumps({"conn_type": "generic"}))
        monkeypatch.setattr(rows, "database", lambda _conn_id: _Hook(connect))
        return "leads"

    return use


@pytest.fixture(scope="session")
def sql_ascii(postgres):
    """Make a database whose encoding is SQL_ASCII; give its URL."""
    url = make_url(postgres)
    with psycopg.connect(_plain(url), autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE old ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' "
            "TEMPLATE template0"
        )
    return _plain(url.set(database="old"))


def _plain(url):
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def connections(postgres, tmp_path):
    """Give what connects to each database, by its name."""
    plain = _plain(make_url(postgres))
    return {
        "psycopg": lambda: psycopg.connect(plain),
        "psycopg2": lambda: psycopg2.connect(plain),
        "duckdb": lambda: duckdb.connect(str(tmp_path / "leads.duckdb")),
    }
