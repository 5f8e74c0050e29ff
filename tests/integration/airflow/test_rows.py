"""The rows of a query from PostgreSQL (Contract 4.2)."""

import json

import pytest
from sqlalchemy import make_url

from tests.databases import postgres
from zbl_provider.hooks.rows import Rows

__all__ = ["postgres"]


@pytest.fixture
def connect(postgres, monkeypatch):
    """Give a function that makes the connection `leads`, with its Extra."""
    url = make_url(postgres)

    def make(**extra):
        fields = {"host": url.query["host"], "login": url.username, "schema": url.database}
        connection = {"conn_type": "postgres", "extra": extra, **fields}
        monkeypatch.setenv("AIRFLOW_CONN_LEADS", json.dumps(connection))
        return "leads"

    return make


def test_rows_are_streamed_by_the_server(connect):
    """The whole result is never in memory: the query stands behind a server-side cursor."""
    names = [values for _, values in Rows(connect(), "SELECT name FROM pg_cursors")]
    assert names == [("zbl_leads",)]


@pytest.mark.parametrize("cursor", ["dictcursor", "namedtuplecursor", None])
def test_rows_are_values_whatever_the_connections_cursor(connect, cursor):
    """A connection whose cursors give dicts gives the same rows."""
    leads = connect(**({"cursor": cursor} if cursor else {}))
    query = "SELECT n AS id, 'a%%' AS text FROM generate_series(1, %(most)s) n ORDER BY n;"
    rows = [(columns, tuple(values)) for columns, values in Rows(leads, query, {"most": 2500})]
    assert len(rows) == 2500
    assert rows[-1] == (["id", "text"], (2500, "a%"))
