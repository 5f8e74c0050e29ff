"""What the types of each database become is what docs/databases.md says (Contract 2.2)."""

from __future__ import annotations

import sqlite3

import pytest

from tests.support.type_table import PAGE, check
from zbl_provider.dispatch.intake import read
from zbl_provider.hooks.rows import Rows


def test_types_of_postgresql(use, connections):
    """The page's table of PostgreSQL is what arrives (2.2)."""
    values = (
        "12::bigint",
        "85.50::numeric(5,2)",
        "0.1::real",
        "true",
        "'São'::text",
        "'ab'::char(5)",
        "'{\"k\": [1]}'::jsonb",
        "ARRAY[1, 2]",
        "timestamptz '2026-02-23 14:30:02-03'",
        "timestamp '2026-02-23 14:30:02'",
        "date '2026-02-23'",
        "time '14:30:02'",
        "interval '1 day 2 seconds'",
        "'00000000-0000-0000-0000-000000000001'::uuid",
        "'10.0.0.0/8'::cidr",
        "'a'::bytea",
        "int4range(1, 5)",
        "ARRAY[int4range(1, 5)]",
        "ROW(1, 'a')::text",
        "12.50::money",
        "B'101'",
        "'infinity'::timestamptz",
        "date '0044-03-15 BC'",
        "'NaN'::float8",
    )
    check("PostgreSQL", use(connections["psycopg"]), values)


def test_types_of_sqlite(use, tmp_path):
    """The page's table of SQLite is what arrives (2.2)."""
    values = ("12", "85.5", "'São'", "x'00ff'", "NULL", "datetime('2026-02-23 14:30:02')", "9e999")
    check("SQLite", use(lambda: sqlite3.connect(tmp_path / "leads.db")), values)


def test_types_of_duckdb(use, connections):
    """The page's table of DuckDB is what arrives (2.2)."""
    values = (
        "12::HUGEINT",
        "85.50::DECIMAL(5,2)",
        "true",
        "TIMESTAMPTZ '2026-02-23 14:30:02-03'",
        "DATE '2026-02-23'",
        "INTERVAL 1 DAY",
        "[1, 2]",
        "{'k': 1}",
        "MAP {'k': 1}",
        "MAP {7: 'a'}",
        "'infinity'::DATE",
        "'a'::BLOB",
        "uuid '00000000-0000-0000-0000-000000000001'",
        "'infinity'::TIMESTAMP",
    )
    check("DuckDB", use(connections["duckdb"]), values)


# The database's own value, and the page's column in its place.
AS_JSON = {
    "sqlite": ("%s", "json_object('prefs', json(prefs))"),
    "duckdb": ("%s::JSON", "json_object('prefs', prefs::JSON)"),
    "psycopg": ("%s::text", "jsonb_build_object('prefs', prefs::jsonb)"),
}


@pytest.mark.parametrize("name", AS_JSON)
def test_a_json_column_is_json_where_the_query_says_so(use, connections, tmp_path, name):
    """The page's way of having it as JSON, in databases that give it as text, too (2.2, 4.2)."""
    connect = connections.get(name) or (lambda: sqlite3.connect(tmp_path / "leads.db"))
    value, column = AS_JSON[name]
    assert f"`{column} AS custom_fields`" in PAGE.read_text(encoding="utf-8")
    leads = "(SELECT " + value % """'["a", {"b": true}]'""" + " AS prefs) AS leads"
    [lead] = read(
        Rows(use(connect), f"SELECT 1 AS id, {column} AS custom_fields FROM {leads}"), None
    )
    assert lead.custom_fields == {"prefs": ["a", {"b": True}]}
