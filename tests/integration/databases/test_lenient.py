"""One value, or one statement, that a driver cannot read is told apart (Contract 4.9, 6.5)."""

from __future__ import annotations

import json
import sqlite3
from uuid import UUID

import psycopg
import psycopg2
import pytest

from zbl_provider.delivery.destination import Destination
from zbl_provider.dispatch.intake import Unreadable, candidate, check_columns, read
from zbl_provider.exceptions import ConfigurationError, InvalidLead, LeadsDatabaseError
from zbl_provider.hooks.rows import Rows
from zbl_provider.leads.payload import document, encode

DESTINATION = Destination.parse(integration="zapier", host="https://hooks.example.com/", extra={})


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
        "'infinity'::interval",
        "ARRAY['-infinity'::interval]",
        "'178000000 years'::interval",
        "'-9100000 years 3 days'::interval",
        "('{\"n\": ' || repeat('9', 5000) || '}')::jsonb",
        "(repeat('[', 5000) || repeat(']', 5000))::jsonb",
    ],
)
def test_a_value_that_python_cannot_hold_makes_its_row_invalid(use, connections, driver, value):
    """The row is invalid, named by column; the rows around it are leads (4.9)."""
    leads = use(connections[driver])
    query = (
        f"SELECT n AS id, CASE WHEN n = 2 THEN {value} END AS moment FROM generate_series(1, 3) n"
    )
    rows = _read(leads, query)
    assert [lead.id for lead in rows] == ["1", "2", "3"]
    assert [isinstance(lead, Unreadable) for lead in rows] == [False, True, False]
    assert "lead.custom_fields.moment" in str(rows[1].problem)
    assert _read(leads, query)[1].fingerprint == rows[1].fingerprint


def test_text_that_is_not_utf8_in_sqlite_makes_its_row_invalid(use, tmp_path):
    """A text with byte E3 is invalid at its column, and the other rows are leads (4.9)."""
    leads = use(lambda: sqlite3.connect(tmp_path / "leads.db"))
    query = (
        "SELECT 1 AS id, 'São' AS city UNION ALL SELECT 2, CAST(x'53e36f' AS TEXT) "
        "UNION ALL SELECT 3, NULL"
    )
    rows = _read(leads, query)
    assert rows[0].custom_fields == {"city": "São"}
    with pytest.raises(InvalidLead, match=r"lead\.custom_fields\.city must be Unicode"):
        encode(document(rows[1]))
    assert json.loads(encode(document(rows[2])))["lead"]["id"] == "3"


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


@pytest.mark.parametrize("driver", [psycopg.connect, psycopg2.connect])
@pytest.mark.parametrize(
    ("value", "form"),
    [
        (r"""E'{"a": "S\303\243o"}'::jsonb""", {"a": "São"}),
        (r"""E'{"a": "S\303\243o \\u00e3"}'::json""", {"a": "São ã"}),
        (r"""ARRAY[E'{"a": "S\303\243o"}'::json]""", [{"a": "São"}]),
        (r"ARRAY[E'S\303\243o', NULL]", ["São", None]),
        (r"E'S\303\243o'::char(6)", "São"),
        (r"E'S\303\243o'::name", "São"),
        (r"E's\303\243o'::mood", "são"),
        ("'São'", "São"),
    ],
)
def test_each_type_of_a_database_in_sql_ascii_is_utf8(use, sql_ascii, driver, value, form):
    """JSON, arrays, enums and names of columns too, and the query's own words (4.9)."""
    query = f"SELECT %(id)s AS id, {value} AS \"cidadã\" WHERE %(id)s = 'á'"
    (lead,) = _read(use(lambda: driver(sql_ascii)), query, {"id": "á"})
    assert (lead.id, lead.custom_fields) == ("á", {"cidadã": form})


@pytest.mark.parametrize("driver", [psycopg.connect, psycopg2.connect])
@pytest.mark.parametrize(
    "value", [r"ARRAY[E'S\343o']", r"E'b\343d'::mood", r"E'{\"a\": \"\343\"}'::json"]
)
def test_what_is_not_utf8_in_sql_ascii_makes_its_row_invalid(use, sql_ascii, driver, value):
    """In an array, an enum or JSON too; the rows around it are leads (4.9)."""
    query = f"SELECT n AS id, CASE WHEN n = 2 THEN {value} END AS v FROM generate_series(1, 3) n"
    rows = _read(use(lambda: driver(sql_ascii)), query)
    judged = [candidate(lead, DESTINATION) for lead in rows]
    assert [candidate.status.value for candidate in judged] == ["pending", "invalid", "pending"]
    assert judged[1].reason.startswith("lead.custom_fields.v")


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
@pytest.mark.parametrize(
    ("value", "form"),
    [
        ("'[0:2]={7,8,9}'::int[]", [7, 8, 9]),
        ("'[2:3][-1:0]={{7,8},{9,10}}'::int[]", [[7, 8], [9, 10]]),
        ("'[0:1]={a,NULL}'::text[]", ["a", None]),
        ("'[0:0]={2026-01-01}'::date[]", ["2026-01-01"]),
        (f"ARRAY['{UUID(int=1)}'::uuid]", [str(UUID(int=1))]),
        ("ARRAY['{[1,3),[5,7)}'::int4multirange]", ["{[1,3),[5,7)}"]),
        ("ARRAY[ROW(1, 'a b')]", ['(1,"a b")']),
        ("ROW(1, NULL, 'a')", "(1,,a)"),
        ("ARRAY[1::money, NULL]", ["$1.00", None]),
        ("ARRAY[B'101']", ["101"]),
        (r"ARRAY['\x00ff'::bytea]", ["AP8="]),
        (r"'\x00ff'::bytea", "AP8="),
        ("'24 hours 30 seconds'::interval", 86430),
        ("ARRAY['24:00'::interval]", [86400]),
    ],
)
def test_arrays_of_postgresql_are_lists(use, connections, driver, value, form):
    """Whatever their bounds and types are, and both clients give the same (2.2, 4.9)."""
    (lead,) = _read(use(connections[driver]), f"SELECT 1 AS id, {value} AS v")
    assert lead.custom_fields == {"v": form}


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_an_unreadable_row_whose_bytes_changed_has_changed(use, connections, driver):
    """Bytes are known by what they are, so that the row is looked at again (5.5)."""
    leads = use(connections[driver])
    query = "SELECT 1 AS id, 'NaN'::float8 AS v, %(raw)s::bytea AS raw"
    (first,), (again,), (other,) = (_read(leads, query, {"raw": raw}) for raw in (b"a", b"a", b"b"))
    assert first.fingerprint == again.fingerprint
    assert first.fingerprint != other.fingerprint


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_what_a_function_of_the_database_raises_is_not_told(use, connections, driver):
    """It may hold a row's value, in words that nobody knows; its class and code are told (4.3)."""
    with connections[driver]() as connection, connection.cursor() as cursor:
        cursor.execute(
            "CREATE OR REPLACE FUNCTION refuse(name text) RETURNS text LANGUAGE plpgsql AS "
            "$$ BEGIN RAISE EXCEPTION 'no % here', name; END $$"
        )
        connection.commit()
    with pytest.raises(LeadsDatabaseError, match=r"P0001\): raised by a function") as caught:
        list(Rows(use(connections[driver]), "SELECT refuse('An' || 'a Lima') AS id"))
    assert "Lima" not in str(caught.value)


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
    rows = _read(use(connections["duckdb"]), query)
    assert len(rows) == 2500
    assert rows[0].created_at == "2026-02-23T17:30:02Z"
    assert rows[0].score == 85.5
    assert rows[0].custom_fields == {
        "city": "São",
        "tags": [1, 2],
        "map": {"k": True},
        "moment": None,
        "key": "00000000-0000-0000-0000-000000000001",
    }
    assert str(rows[-1].problem).startswith("lead.custom_fields.moment must be a value that its")


@pytest.mark.parametrize(
    "value",
    [
        "'-infinity'::TIMESTAMP",
        "'infinity'::TIMESTAMPTZ",
        "['infinity'::TIMESTAMP_MS]",
        "{'k': ['infinity'::TIMESTAMP]}",
        "MAP {'infinity'::TIMESTAMP: 1}",
    ],
)
def test_infinity_in_duckdb_makes_its_row_invalid(use, connections, value):
    """It is no moment, wherever it stands; the rows around it are leads (4.9)."""
    query = (
        f"SELECT n AS id, CASE WHEN n = 2 THEN {value} END AS v FROM range(1, 4) t(n) ORDER BY n"
    )
    rows = _read(use(connections["duckdb"]), query)
    assert [isinstance(lead, Unreadable) for lead in rows] == [False, True, False]
    assert "TIMESTAMP (infinity)" in str(rows[1].problem)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "sqlite3"])
def test_for_ever_is_a_time(use, connections, tmp_path, driver):
    """The last moment that many a table holds is a time, where infinity is told from it (2.2)."""
    connect = connections.get(driver) or (lambda: sqlite3.connect(tmp_path / "leads.db"))
    cast = "::timestamp" if driver in connections else ""
    query = f"SELECT 1 AS id, '9999-12-31 23:59:59.999999'{cast} AS qualified_at"
    (lead,) = _read(use(connect), query)
    assert lead.qualified_at == "9999-12-31T23:59:59Z"


@pytest.mark.parametrize(
    ("driver", "sql", "parameters"),
    [
        ("psycopg", "SELECT 1 AS id WHERE 'x' LIKE 'J%' AND 1 < %s", [5]),
        ("psycopg2", "SELECT 1 AS id WHERE 'x' LIKE 'J%' AND 1 < %s", [5]),
        ("psycopg2", "SELECT %(n)s AS id", {"m": 5}),
        ("psycopg", "SELECT %s AS id", [5, 6]),
        ("sqlite3", "SELECT %s AS id", [5]),
        ("sqlite3", "SELECT ? AS id", [5, 6]),
        ("duckdb", "SELECT %s AS id", [5]),
    ],
)
def test_parameters_that_do_not_fit_are_explained(
    use, connections, tmp_path, driver, sql, parameters
):
    """How placeholders are written, and a percent sign beside them, is said (4.2)."""
    connect = connections.get(driver) or (lambda: sqlite3.connect(tmp_path / "leads.db"))
    with pytest.raises(LeadsDatabaseError, match="look at placeholders and parameters"):
        list(Rows(use(connect), sql, parameters))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "sqlite3", "duckdb"])
def test_another_error_says_nothing_of_parameters(use, connections, tmp_path, driver):
    """A table that is not there is no matter of placeholders (4.2)."""
    connect = connections.get(driver) or (lambda: sqlite3.connect(tmp_path / "leads.db"))
    mark = "%s" if driver.startswith("psycopg") else "?"
    with pytest.raises(LeadsDatabaseError, match="nowhere") as caught:
        list(Rows(use(connect), f"SELECT {mark} AS id FROM nowhere", [1]))
    assert "placeholders" not in str(caught.value)


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "sqlite3", "duckdb"])
@pytest.mark.parametrize("sql", ["EXPLAIN SELECT 1", "explain analyze DELETE FROM leads", "DESC x"])
def test_a_statement_that_tells_of_a_query_is_refused(use, connections, tmp_path, driver, sql):
    """A plan's rows are no leads, and EXPLAIN ANALYZE does what it tells of (4.9)."""
    connect = connections.get(driver) or (lambda: sqlite3.connect(tmp_path / "leads.db"))
    with pytest.raises(ConfigurationError, match=r"sql: .*which tells of a query"):
        list(Rows(use(connect), sql))


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "sqlite3", "duckdb"])
def test_a_query_may_end_with_marks(use, connections, tmp_path, driver):
    """One or several semicolons behind a query are no second statement (4.9)."""
    connect = connections.get(driver) or (lambda: sqlite3.connect(tmp_path / "leads.db"))
    for end in (";", ";;", " ;\n; "):
        assert len(_read(use(connect), f"SELECT 1 AS id{end}")) == 1


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
