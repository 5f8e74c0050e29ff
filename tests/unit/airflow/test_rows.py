"""The rows of a query, through Airflow's database connections (Contract 4.2)."""

import json
import sqlite3
import traceback
import tracemalloc

import pytest

from zbl_provider.exceptions import ConfigurationError, LeadsDatabaseError
from zbl_provider.hooks.rows import Rows

MARK = "mar" + "ker"  # a traceback shows the lines of the test, too


@pytest.fixture
def leads(tmp_path, monkeypatch):
    path = tmp_path / "leads.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE leads (id, email)")
        rows = [(n, f"{n}@example.com") for n in range(2500)]
        connection.executemany("INSERT INTO leads VALUES (?, ?)", rows)
    monkeypatch.setenv("AIRFLOW_CONN_LEADS", json.dumps({"conn_type": "sqlite", "host": str(path)}))
    return "leads"


def test_rows_come_with_the_names_of_their_columns(leads):
    """Each row comes with the query's columns, however many batches it takes."""
    rows = list(Rows(leads, "SELECT id, email FROM leads ORDER BY id"))
    assert len(rows) == 2500
    assert rows[-1] == (["id", "email"], (2499, "2499@example.com"))


def test_large_rows_are_fetched_few_at_once(leads):
    """A document in each row does not fill the memory: it takes some rows at once (4.2)."""
    query = "SELECT id, hex(zeroblob(500000)) || id AS document FROM leads LIMIT 400"
    tracemalloc.start()
    try:
        assert [values[0] for _, values in Rows(leads, query)] == list(range(400))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 100 * 2**20


def test_parameters_are_bound_by_the_driver(leads):
    """A value is bound, never formatted into the text (Contract 7.4)."""
    hostile = "0@example.com' OR '1'='1"
    assert list(Rows(leads, "SELECT id FROM leads WHERE email = ?", [hostile])) == []
    assert list(Rows(leads, "SELECT id FROM leads WHERE id = :id", {"id": 7})) == [(["id"], (7,))]


def test_parameters_are_not_logged(leads, caplog):
    """`DbApiHook.run` writes parameters to the log; here they are personal data, and are not."""
    caplog.set_level("DEBUG")
    list(Rows(leads, "SELECT id FROM leads WHERE email = ?", ["marker@example.com"]))
    assert "marker" not in caplog.text


def test_a_database_that_cannot_be_connected_to_says_so(monkeypatch):
    """No row was read, so its error is told whole, with what to correct (4.2)."""
    folder = {"conn_type": "sqlite", "host": "/nowhere/at/all/leads.db"}
    monkeypatch.setenv("AIRFLOW_CONN_LEADS", json.dumps(folder))
    with pytest.raises(LeadsDatabaseError) as failure:
        list(Rows("leads", "SELECT 1 AS id"))
    assert "unable to open database file. Correct the connection" in str(failure.value)
    assert "hidden" not in str(failure.value)


def test_a_connection_without_sql_is_refused(monkeypatch):
    """A connection that is no database is refused, naming the parameter."""
    monkeypatch.setenv("AIRFLOW_CONN_WEB", "http://example.com")
    with pytest.raises(ConfigurationError, match="leads_conn_id"):
        Rows("web", "SELECT 1")


@pytest.mark.parametrize("parameters", ["ab", b"ab", 5, {"a"}])
def test_parameters_that_are_no_list_are_refused(leads, parameters):
    """A text would be bound character by character; its content is not shown (4.2 and 4.3)."""
    with pytest.raises(ConfigurationError, match="parameters: they are neither a list") as refused:
        Rows(leads, "SELECT ? AS id", parameters)
    assert "ab" not in str(refused.value)


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELECT idd FROM leads", "OperationalError: no such column: idd"),
        ("SELECT id FROM customers", "OperationalError: no such table: customers"),
        ("SELEC id FROM leads", 'OperationalError: near "SELEC": syntax error'),
        (
            "SELECT id FROM leads WHERE email = ? AND id = ?",
            "ProgrammingError: Incorrect number of",
        ),
    ],
)
def test_an_error_of_the_database_is_told_without_data(leads, sql, told):
    """What it says of a row or a parameter is hidden, in the chain of causes too (4.2, 4.3)."""
    with pytest.raises(LeadsDatabaseError) as failure:
        list(Rows(leads, sql, [MARK] if "?" in sql else None))
    assert told in str(failure.value)
    assert "connection leads" in str(failure.value)
    assert MARK not in "".join(traceback.format_exception(failure.value))
    assert failure.value.__context__ is None
