"""A driver's error is told so that it helps, and shows no lead's data (Contract 4.3)."""

from __future__ import annotations

import sqlite3

import duckdb
import pytest
from hypothesis import given
from hypothesis import strategies as st

from zbl_provider.driver_errors import sqlstate, told

SQL = "SELECT idd FROM crm.leads WHERE town = %(town)s AND score>=least AND a::moood = {{ x }}"


class ColumnError(Exception):
    sqlstate = "42703"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ('column "idd" does not exist\nLINE 1: …', 'column "idd" does not exist'),
        ('relation "crm.leads" does not exist', 'relation "crm.leads" does not exist'),
        ("Unknown column 'idd' in 'field list'", "Unknown column 'idd' in 'field list'"),
        ('column "least" does not exist', 'column "least" does not exist'),
        ('type "moood" does not exist', 'type "moood" does not exist'),
        ('syntax error at or near "{"', 'near "{"'),
        (
            "error in your SQL syntax near 'crm.leads WHERE town' at line 1",
            "'crm.leads WHERE town'",
        ),
        ('column "eas" does not exist', "column … does not exist"),
        ("permission denied for table leads", "permission denied for table leads"),
        ('invalid input syntax for type integer: "mqz7"', "integer: …"),
        ("Conversion failed when converting the varchar value 'Ana Lima'", "varchar value …"),
        ("Bad int64 value: ana@example.com", "value: …"),
        ("Could not decode to UTF-8 column 'email' with text 'ana lima'", "text …"),
    ],
)
def test_what_helps_is_shown_and_what_may_be_data_is_not(text, shown):
    """Words of a database's own and of the statement stay; any other is hidden (Contract 4.3)."""
    said = told(ColumnError(text), SQL)
    assert said.startswith("ColumnError (SQLSTATE 42703): ")
    assert shown.replace("…", "") in said.replace("…", "").replace("''", "").replace('""', "")
    assert not {"mqz7", "ana", "lima", "LINE"} & set(said.replace("@", " ").split())


@given(st.text(min_size=1), st.text())
def test_no_value_comes_through(value, before):
    """Whatever a driver quotes, and however, a word of a row is not shown (Contract 4.3)."""
    mark = "mqz7x"
    value = value.replace('"', "").replace("\n", "")
    for text in (f'{before} "{mark}" {value}', f"{value} value: {mark}", f"bad\n{mark}"):
        assert mark not in told(ValueError(text), SQL)


@given(
    st.sampled_from("'\"`"),
    st.text("'\"` \nids,.:") | st.sampled_from(["town", 'idd" ', "x'", "\n\nLINE 1: "]),
    st.text("'\"` \nids,.:"),
)
def test_a_value_with_marks_of_its_own_does_not_come_through(mark, before, behind):
    """A name like João "Jota" Lima, and one of several lines, are hidden whole (Contract 4.3)."""
    text = f"invalid input syntax for type integer: {mark}{before} mqz7x {behind}{mark}"
    for problem in (ValueError(text), ValueError(f"{text} of id\n\nLINE 1: SELECT id")):
        assert "mqz7x" not in told(problem, SQL)


def test_names_are_told_where_an_error_quotes_names_alone():
    """A statement's own names help, one or several (Contract 4.3)."""
    text = 'Values list "town" does not have a column named "idd"'
    assert told(duckdb.BinderException(text), SQL) == f"BinderException: {text}"
    assert "idd" not in told(ValueError(text), SQL)


def test_what_duckdb_raises_and_patterns_are_not_told():
    """They stand unquoted in its message (Contract 4.3)."""
    assert "Ana" not in told(ValueError("Invalid Input Error: Ana"), "SELECT ERROR (name)")
    for problem in ("missing )", "unexpected )", "invalid escape sequence", "trailing \\"):
        said = told(ValueError(f"Invalid Input Error: {problem}: (Ana"), SQL)
        assert said == f"ValueError: Invalid Input Error: {problem}: …"


@pytest.mark.parametrize("quoted", ["mqz7x.id", "mqz7x .", "mqz7x.score", "a.mqz7x.email"])
def test_a_value_that_ends_like_a_name_of_the_statement_is_no_name(quoted):
    """Its beginning is hidden, but where an error quotes names alone (Contract 4.3)."""
    assert "mqz7x" not in told(ValueError(f'bad value "{quoted}"'), SQL)


@pytest.mark.parametrize("state", ["23502", "23503", "23505", "23514"])
def test_which_column_breaks_a_rule_of_its_table_is_told(state):
    """PostgreSQL quotes two names there, and values in its detail alone (4.3)."""
    problem = ValueError(state, 'column "town" of relation "leads" violates a rule\nmqz7')
    said = told(problem, SQL)
    assert 'column "town" of relation "leads" violates' in said
    assert "mqz7" not in said


def test_codes_are_known_from_any_driver():
    """SQLSTATE is read where psycopg, psycopg2 and ODBC have it; SQLite has none."""
    of_psycopg2 = ValueError("x")
    of_psycopg2.pgcode = "57014"
    assert sqlstate(ColumnError("x")) == "42703"
    assert sqlstate(of_psycopg2) == "57014"
    assert sqlstate(ValueError("42S02", "no such table")) == "42S02"
    for other in (sqlite3.OperationalError("no such table: x"), ValueError("MARIA", "x")):
        assert sqlstate(other) is None


def test_words_of_a_function_of_the_database_are_not_told():
    """What SIGNAL or RAISE says may be all data: its class and code are told alone (4.3)."""
    for problem in (
        ValueError(1644, "Ana"),
        ValueError("45000", "Ana"),
        ValueError("P0001", "Ana"),
    ):
        assert "Ana" not in told(problem, SQL)
        assert "raised by a function" in told(problem, SQL)


@pytest.mark.parametrize("value", [" 'mqz7" * 200_000, "mqz7" * 250_000, "7" * 1_000_000])
@pytest.mark.parametrize("mark", ['"', ""])
def test_a_value_of_a_megabyte_is_hidden_at_once(mark, value):
    """A lead may be as long as that, and the task is to go on (4.3)."""
    said = told(ValueError(f"invalid input for integer: {mark}{value}{mark} of Ana"), SQL)
    assert len(said) < 400
    assert "Ana" not in said
    assert "mqz7" not in said or not mark
