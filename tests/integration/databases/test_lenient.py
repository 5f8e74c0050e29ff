"""One value, or one statement, that a driver cannot read is told apart (Contract 4.9, 6.5)."""

from __future__ import annotations

import json
import sqlite3

import psycopg
import psycopg2
import pytest

from zbl_provider.dispatch.intake import Unreadable, check_columns, read
from zbl_provider.exceptions import ConfigurationError, InvalidLead
from zbl_provider.hooks.rows import Rows
from zbl_provider.leads.payload import document, encode


def _read(leads, sql, parameters=None):
    """Return what became of each row: the lead, or what is wrong with it."""
    return list(read(Rows(leads, sql, parameters), None))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize(
    "value",
    [
        "'infinity'::timestamptz",
        "'-infinity'::timestamptz",
        "'infinity'::timestamp",
        "'20000-01-01'::timestamptz",
        "'0044-03-15 BC'::timestamp",
        "'0044-03-15 BC'::date",
        "'infinity'::date",
        "'24:00'::time",
        "'24:00+00'::timetz",
        "ARRAY['infinity'::timestamptz]",
        "('{\"n\": ' || repeat('9', 5000) || '}')::jsonb",
    ],
)
def test_a_value_that_python_cannot_hold_makes_its_row_invalid(use, connections, driver, value):
    """The row is invalid, named by column; the rows around it are leads (4.9)."""
    leads = use(connections[driver])
    query = (
        f"SELECT n AS id, CASE WHEN n = 2 THEN {value} END AS moment FROM generate_series(1, 3) n"
    )
    found = _read(leads, query)
    assert [one.id for one in found] == ["1", "2", "3"]
    assert [isinstance(one, Unreadable) for one in found] == [False, True, False]
    assert "lead.custom_fields.moment" in str(found[1].problem)
    assert _read(leads, query)[1].fingerprint == found[1].fingerprint


def test_text_that_is_not_utf8_in_sqlite_makes_its_row_invalid(use, tmp_path):
    """A text with byte E3 is invalid at its column, and the other rows are leads (4.9)."""
    leads = use(lambda: sqlite3.connect(tmp_path / "leads.db"))
    query = (
        "SELECT 1 AS id, 'São' AS city UNION ALL SELECT 2, CAST(x'53e36f' AS TEXT) "
        "UNION ALL SELECT 3, NULL"
    )
    found = _read(leads, query)
    assert found[0].custom_fields == {"city": "São"}
    with pytest.raises(InvalidLead, match=r"lead\.custom_fields\.city must be Unicode"):
        encode(document(found[1]))
    assert json.loads(encode(document(found[2])))["lead"]["id"] == "3"


@pytest.mark.parametrize("driver", [psycopg.connect, psycopg2.connect])
def test_text_of_a_database_in_sql_ascii_is_utf8(use, sql_ascii, driver):
    """Text and ids arrive as text; what is not UTF-8 makes its own row invalid (4.9)."""
    leads = use(lambda: driver(sql_ascii))
    query = (
        r"SELECT 'a1'::varchar AS id, E'S\303\243o Paulo' AS city, 'x'::bytea AS raw, "
        "'ab'::text AS code, '{\"k\": 1}'::text AS custom_fields "
        r"UNION ALL SELECT 'a2', E'S\343o', NULL, NULL, NULL"
    )
    good, bad = _read(leads, query)
    assert good.id == "a1"
    assert good.custom_fields == {
        "k": 1,
        "city": "São Paulo",
        "raw": "eA==",
        "code": "ab",
    }
    with pytest.raises(InvalidLead, match=r"lead\.custom_fields\.city must be Unicode text"):
        encode(document(bad))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_ranges_and_padded_text_of_postgresql(use, connections, driver):
    """A range has PostgreSQL's own text; a CHAR column's padding stays in an id alone (2.2)."""
    query = (
        "SELECT 'a1'::char(4) AS id, 'Lyon'::char(9) AS city, int4range(1, 5) AS span, "
        "tstzrange('2026-01-01Z', 'infinity') AS days, 'qualified'::char(12) AS status, "
        "ARRAY[int4range(1, 2), NULL] AS spans, ARRAY[daterange('2026-01-01', NULL)] AS times, "
        "ARRAY['ab'::char(4)] AS codes"
    )
    (lead,) = _read(use(connections[driver]), query)
    assert lead.id == "a1  "
    assert lead.status == "qualified"
    assert lead.custom_fields == {
        "city": "Lyon",
        "span": "[1,5)",
        "days": '["2026-01-01 00:00:00+00",infinity)',
        "spans": ["[1,2)", None],
        "times": ["[2026-01-01,)"],
        "codes": ["ab"],
    }


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_an_instant_stays_that_instant(use, connections, driver, monkeypatch):
    """The session is at UTC, whatever zone the server or its client prefers (6.5)."""
    monkeypatch.setenv("PGTZ", "America/Sao_Paulo")
    monkeypatch.setenv("PGDATESTYLE", "German")
    query = (
        "SELECT 1 AS id, '2026-02-23 17:30:02Z'::timestamptz AS created_at, "
        "('2026-02-23 17:30:02Z'::timestamptz)::text AS written"
    )
    (lead,) = _read(use(connections[driver]), query)
    assert lead.created_at == "2026-02-23T17:30:02Z"
    assert lead.custom_fields["written"].startswith("2026-02-23 17:30:02+00")


def test_duckdb_is_read_without_what_it_lacks(use, connections):
    """DuckDB has no arraysize; its types are read, and infinity is no time (6.5)."""
    query = (
        "SELECT i AS id, 'São' AS city, 85.5::DECIMAL(5,2) AS score, "
        "TIMESTAMPTZ '2026-02-23 14:30:02-03' AS created_at, [1, 2] AS tags, {'k': true} AS map, "
        "CASE WHEN i = 2500 THEN 'infinity'::TIMESTAMP END AS moment, "
        "uuid '00000000-0000-0000-0000-000000000001' AS key FROM range(1, 2501) t(i) ORDER BY i"
    )
    found = _read(use(connections["duckdb"]), query)
    assert len(found) == 2500
    assert found[0].created_at == "2026-02-23T17:30:02Z"
    assert found[0].score == 85.5
    assert found[0].custom_fields == {
        "city": "São",
        "tags": [1, 2],
        "map": {"k": True},
        "moment": None,
        "key": "00000000-0000-0000-0000-000000000001",
    }
    assert str(found[-1].problem).startswith("lead.custom_fields.moment must be a time")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "sqlite3", "duckdb"])
@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE leads SET taken = 1",
        "-- claim\nUPDATE leads SET taken = 1 RETURNING *",
        "/* a */ (DELETE FROM leads)",
        "insert into leads values (1)",
        "WITH x AS (SELECT 1 AS id) UPDATE leads SET taken = 1 WHERE id IN (SELECT id FROM x)",
        "WITH x AS MATERIALIZED (INSERT INTO leads VALUES (1) RETURNING *) SELECT * FROM x",
        "SELECT 1 AS id; DELETE FROM leads",
        "TRUNCATE leads",
    ],
)
def test_a_statement_that_changes_rows_is_refused(use, connections, tmp_path, driver, sql):
    """It is refused in its own words before it runs, naming sql (4.9)."""
    connect = connections.get(driver) or (lambda: sqlite3.connect(tmp_path / "leads.db"))
    with pytest.raises(ConfigurationError, match=r"sql: .*changes rows"):
        list(Rows(use(connect), sql))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("WITH x AS (DELETE FROM leads_x RETURNING *) SELECT * FROM x", "changes rows"),
        ("CALL p()", "begins with CALL"),
        ("SET x = 1; SELECT 1 AS id", "begins with SET"),
        ("SELECT 1 AS id; SELECT 2 AS id", "has 2 statements"),
        ("SELECT 1 AS id; COMMIT", "has 2 statements"),
    ],
)
def test_what_postgresql_cannot_stream_is_refused_in_its_own_words(
    use, connections, driver, sql, said
):
    """No syntax error is blamed on a statement that has none (4.9)."""
    with connections[driver]() as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE IF NOT EXISTS leads_x (id int)")
        connection.commit()
    with pytest.raises(ConfigurationError, match=f"sql: .*{said}"):
        list(Rows(use(connections[driver]), sql))


@pytest.mark.parametrize("sql", ["CREATE TABLE a (b)", "PRAGMA user_version = 1", "BEGIN"])
def test_a_statement_without_columns_is_refused(use, tmp_path, sql):
    """No task is green for a statement that can find nothing (4.9)."""
    with pytest.raises(ConfigurationError, match="sql: the statement gives no columns"):
        list(Rows(use(lambda: sqlite3.connect(tmp_path / "leads.db")), sql))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "sqlite3", "duckdb"])
def test_the_columns_of_an_empty_result_are_checked(use, connections, tmp_path, driver):
    """A field_map that names no column is refused, even where no row is found (4.2)."""
    connect = connections.get(driver) or (lambda: sqlite3.connect(tmp_path / "leads.db"))
    leads = use(connect)

    def check(columns):
        check_columns({"mail": "email"}, columns)

    with pytest.raises(ConfigurationError, match="field_map: there is no column 'mail'"):
        list(Rows(leads, "SELECT 1 AS id WHERE 1 = 0", None, check))
    with pytest.raises(ConfigurationError, match="column 2 has no name"):
        check_columns(None, ["id", ""])


def test_a_list_of_statements_is_refused(use, tmp_path):
    """A list is no query, and the message says so (4.9)."""
    with pytest.raises(ConfigurationError, match="sql: it is not text, but a list"):
        Rows(use(lambda: sqlite3.connect(tmp_path / "leads.db")), ["SELECT 1"])
