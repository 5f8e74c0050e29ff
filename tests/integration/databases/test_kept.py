"""A query that is run again and again comes over one connection, where that is safe (4.12)."""

import sqlite3
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import make_url

from zbl_provider.exceptions import LeadsDatabaseError
from zbl_provider.hooks.rows import Rows

QUERY = "SELECT id FROM kept ORDER BY id"


@pytest.fixture
def connect(connections, tmp_path):
    """Give what connects to each database of this test, with a table in it."""
    connections["sqlite3"] = lambda: sqlite3.connect(tmp_path / "leads.db")

    def connect(driver):
        change(connections[driver], "DROP TABLE IF EXISTS kept")
        change(connections[driver], "CREATE TABLE kept (id integer)")
        return connections[driver]

    return connect


def change(connect, statement):
    """Commit a change over a connection of its own."""
    with closing(connect()) as connection:
        if not isinstance(connection, sqlite3.Connection):
            connection.cursor().execute("SET lock_timeout = '5s'")
        connection.cursor().execute(statement)
        connection.commit()


def counted(connect):
    """Give a function that connects, and the connections that it has made."""
    made = []

    def call():
        made.append(connect())
        return made[-1]

    return call, made


def ids(rows):
    return [values[0] for _, values in rows]


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2", "sqlite3"])
def test_each_look_sees_what_is_committed_by_then(use, connect, driver):
    """One connection serves all looks, and holds no transaction open between them (4.12)."""
    to_database = connect(driver)
    call, made = counted(to_database)
    rows = Rows(use(call), QUERY, keep=True)
    assert ids(rows) == []
    for id_ in range(3):
        change(to_database, f"INSERT INTO kept VALUES ({id_})")
        assert ids(rows) == list(range(id_ + 1))
    assert len(made) == 1
    change(to_database, "DROP TABLE kept")  # nobody holds a lock
    rows.close()


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_connection_that_rests_is_idle(use, connect, postgres, driver):
    """It keeps no snapshot from being cleaned up, and times are still UTC at the second look."""
    call, made = counted(connect(driver))
    query = "SELECT current_setting('TimeZone'), pg_backend_pid()"
    rows = Rows(use(call), query, keep=True)
    looks = [values for _ in range(2) for _, values in rows]
    assert [zone for zone, _ in looks] == ["UTC", "UTC"]
    assert looks[0][1] == looks[1][1], "the same session"
    url = make_url(postgres).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(url) as watcher:
        (state,) = watcher.execute(
            "SELECT state FROM pg_stat_activity WHERE pid = %s", [looks[0][1]]
        ).fetchone()
    assert state == "idle"
    rows.close()
    assert made[0].closed


def test_a_file_that_one_process_may_open_is_let_go_of(use, connections):
    """DuckDB's writers would be kept out by a connection that rests (4.12)."""
    call, made = counted(connections["duckdb"])
    rows = Rows(use(call), "SELECT 1 AS id", keep=True)
    assert [ids(rows), ids(rows)] == [[1], [1]]
    assert len(made) == 2


@pytest.mark.parametrize("driver", ["psycopg", "psycopg2"])
def test_a_connection_that_was_closed_is_opened_again(use, connect, postgres, driver):
    """The look after the one that fails has a new one (4.12)."""
    to_database = connect(driver)
    rows = Rows(use(to_database), "SELECT pg_backend_pid() AS id", keep=True)
    (pid,) = ids(rows)
    change(to_database, f"SELECT pg_terminate_backend({pid})")
    with pytest.raises(LeadsDatabaseError):
        ids(rows)
    assert ids(rows) != [pid]
    rows.close()


def test_a_look_that_is_not_read_to_its_end_keeps_nothing(use, connect):
    """What is left of a result belongs to no later look (4.12)."""
    call, made = counted(connect("psycopg"))
    rows = Rows(use(call), "SELECT generate_series(1, 5000) AS id", keep=True)
    look = iter(rows)
    next(look)
    look.close()
    assert made[0].closed
    assert len(ids(rows)) == 5000
    rows.close()
