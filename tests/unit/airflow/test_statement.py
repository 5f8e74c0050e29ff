"""What leads may be read with is told before it is run (Contract 4.9)."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.exceptions import ConfigurationError
from zbl_provider.hooks.statement import check_statement

QUERIES = [
    "SELECT 1 AS id",
    "\ufeffSELECT 1 AS id;;",
    "  (SELECT 1 AS id) UNION ALL (SELECT 2);\n-- the end; DELETE",
    "-- DELETE FROM t;\nSELECT 1 AS id",
    "/* a /* nested */ UPDATE t */ SELECT 1 AS id",
    "/* MySQL's /* ends here */ SELECT 1 AS id",
    "VALUES (1)",
    "WITH x AS (SELECT 'a; DELETE FROM t' AS id) SELECT * FROM x FOR UPDATE",
    "WITH RECURSIVE x(id) AS (SELECT 1), y AS NOT MATERIALIZED (SELECT id FROM x) TABLE y",
    "WITH x AS (SELECT replace(a, 'b', 'c') AS id FROM t) SELECT * FROM x",
    "SELECT 1 AS \"; DELETE\", `update` FROM t WHERE a = 'it''s; DROP'",
    "SELECT id FROM t WHERE a = 'it\\'s; DELETE'",
    "SELECT id FROM t WHERE a LIKE 'x\\_%' ESCAPE '\\' AND note <> 'a; DELETE'",
    "SELECT id FROM t WHERE path = 'C:\\' OR E'it\\'s; DELETE' = e'\\'; UPDATE t'",
    "SELECT id, $$; DELETE$$, $q$; UPDATE$q$ FROM t",
    "SELECT data #> '{a}' AS id, data #>> '{b}' FROM t",
    "SELECT id FROM updates WHERE deleted IS NULL",
    "SELECT update_time AS id, inserted FROM t",
    "WITH merge AS (SELECT 1 AS id), replace(id) AS (SELECT 2) SELECT * FROM merge",
    "WITH RECURSIVE /* a name */ delete AS (SELECT 1 AS id) SELECT * FROM delete",
]


@pytest.mark.parametrize("sql", QUERIES)
def test_a_query_is_one_whatever_stands_in_it(sql):
    """Texts, names, comments and functions are no statements (4.9)."""
    check_statement(sql, streamed=True)


@pytest.mark.parametrize(
    "sql",
    [
        "# MySQL's comment\nSELECT 1 AS id",
        "SET @a = 1; SELECT 1 AS id",
        "CALL p()",
        "SELECT id INTO @a FROM t; SELECT @a AS id",
        "FROM t SELECT id",
    ],
)
def test_what_other_databases_read_is_left_to_them(sql):
    """Procedures, and what stands before a query, are refused for PostgreSQL alone (4.9)."""
    check_statement(sql)


@pytest.mark.parametrize(
    ("sql", "word"),
    [
        ("update t set a = 1", "UPDATE"),
        ("REPLACE INTO t VALUES (1)", "REPLACE"),
        ("-- claim\n(DELETE FROM t RETURNING id)", "DELETE"),
        ("WITH x AS (SELECT 1) INSERT INTO t SELECT * FROM x", "INSERT"),
        ("WITH x AS (SELECT (1)), y AS (SELECT 2) MERGE INTO t USING x ON a = b", "MERGE"),
        ("WITH x AS MATERIALIZED (\n-- now\nDELETE FROM t RETURNING *) SELECT 1", "DELETE"),
        ("SELECT 1 AS id; TRUNCATE t", "TRUNCATE"),
        ("SELECT id FROM t WHERE a = 'x' ESCAPE '\\\\'; DELETE FROM t", "DELETE"),
        ("SET x = 1; WITH x AS (SELECT ';') DELETE FROM t", "DELETE"),
        ("WITH x AS (SELECT 1, 2) DELETE FROM t", "DELETE"),
        ("WITH x AS (SELECT recursive) UPDATE t SET a = 1", "UPDATE"),
        ("WITH merge AS (SELECT 1) MERGE INTO t USING merge ON a = b", "MERGE"),
    ],
)
def test_a_change_of_rows_is_refused_wherever_it_stands(sql, word):
    """At the start, in a WITH, behind it, or after a semicolon: it is named (4.9)."""
    with pytest.raises(ConfigurationError, match=rf"sql: it changes rows \({word}\)"):
        check_statement(sql)


@pytest.mark.parametrize("sql", ["", " \n", ";", "-- SELECT 1", "/* SELECT 1", "\ufeff"])
def test_nothing_is_no_query(sql):
    """An empty file says so, and not what a database makes of it (4.9)."""
    with pytest.raises(ConfigurationError, match="sql: it is empty"):
        check_statement(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "DROP TABLE t",
        "/* a */ create table t (a int); GRANT ALL ON t TO u",
        "COMMIT;",
        "SELECT id FROM t INTO OUTFILE '/tmp/leads'",
        "SELECT id INTO copy_of_leads FROM t",
        "WITH a AS (SELECT 1 AS id) SELECT id INTO #copied FROM a",
    ],
)
def test_what_surely_gives_no_rows_is_refused_before_it_is_run(sql):
    """A table is not dropped to find out that this gives no columns (4.9)."""
    with pytest.raises(ConfigurationError, match="sql: the statement gives no columns"):
        check_statement(sql)


@pytest.mark.parametrize("sql", ["SELECT 1 AS id; SELECT 2 AS id", "VALUES (1);\nTABLE t"])
def test_two_queries_are_refused(sql):
    """Of two results one would go unread (4.9)."""
    with pytest.raises(ConfigurationError, match="has 2 statements, and leads are read from one"):
        check_statement(sql)


def test_a_statement_ends_nowhere_in_between():
    """A driver may take the character for its end, and drop the condition behind it (4.9)."""
    with pytest.raises(ConfigurationError, match="sql: it holds a NUL"):
        check_statement("SELECT * FROM leads\0 WHERE region = 'north'")


@given(st.text("ab();'\"`$-#/*\\ \n"), st.booleans())
def test_any_text_is_judged(text, streamed):
    """Whatever is pasted, nothing else is raised (4.9)."""
    with suppress(ConfigurationError):
        check_statement(text, streamed=streamed)
