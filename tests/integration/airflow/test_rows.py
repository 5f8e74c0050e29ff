"""The rows of a query from PostgreSQL (Contract 4.2)."""

import json
import traceback

import pytest
from sqlalchemy import make_url

from tests.support.databases import postgres
from zbl_provider.exceptions import LeadsDatabaseError
from zbl_provider.hooks.rows import Rows

__all__ = ["postgres"]

MARK = "mar" + "ker"  # a traceback shows the lines of the test, too


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


@pytest.mark.parametrize(
    ("query", "told"),
    [
        (
            "SELECT idd FROM pg_class",
            'UndefinedColumn (SQLSTATE 42703): column "idd" does not exist',
        ),
        ("SELECT %(town)s::integer", "(SQLSTATE 22P02): invalid input syntax for type integer: …"),
        ("SELECT ('{' || %(town)s)::jsonb", "(SQLSTATE 22P02): invalid input syntax for type json"),
        (
            "SELECT (n || 'mar' || 'ker')::date FROM generate_series(1, 9) n",
            "(SQLSTATE 22007): invalid",
        ),
    ],
)
def test_an_error_of_the_database_is_told_without_data(connect, query, told):
    """Its code and its own words stay; parameters, rows and DETAIL lines are hidden (4.2, 4.3)."""
    with pytest.raises(LeadsDatabaseError) as failure:
        list(Rows(connect(), query, {"town": MARK} if "%" in query else None))
    assert told in str(failure.value).replace('"…"', "…")
    shown = "".join(traceback.format_exception(failure.value))
    assert MARK not in shown
