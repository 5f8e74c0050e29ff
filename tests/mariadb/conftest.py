"""A MariaDB server of leads, read through each client that Python has for it."""

from __future__ import annotations

import json
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.leads_database import use
from tests.support.mariadb import running_mariadb

__all__ = ["use"]

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items):
    """Mark the tests of this folder."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.mariadb)


@pytest.fixture(scope="session")
def mariadb():
    """Run one server for all tests of this process, in the zone of São Paulo; give its port."""
    with running_mariadb() as port:
        yield port


@pytest.fixture
def execute(mariadb):
    """Give a function that runs statements, each in a mode that takes any value."""
    import MySQLdb

    def execute(*statements):
        with closing(connect(MySQLdb.connect, mariadb)) as connection:
            connection.set_character_set("utf8mb4")
            for statement in ("SET sql_mode = ''", *statements):
                with closing(connection.cursor()) as cursor:
                    cursor.execute(statement)
            connection.commit()

    return execute


def connect(client, port):
    """Connect as the user of the leads."""
    return client(host="127.0.0.1", port=port, user="leads", password="secret", database="leads")


@pytest.fixture(params=["mysqlclient", "DictCursor", "mysql-connector-python", "pymysql"])
def leads(request, mariadb, monkeypatch, use):
    """Give the connection's id, once for each client; Airflow has a hook for all but PyMySQL."""
    if request.param == "pymysql":
        import pymysql

        return use(lambda: connect(pymysql.connect, mariadb))
    monkeypatch.setenv("AIRFLOW_CONN_LEADS", json.dumps(connection_of(request.param, mariadb)))
    return "leads"


def connection_of(client, port):
    """Give Airflow's connection for a client; one of type `pymysql` there is not."""
    extra = {"cursor": client} if client == "DictCursor" else {"client": client}
    return {
        "conn_type": "pymysql" if client == "pymysql" else "mysql",
        "host": "127.0.0.1",
        "port": port,
        "login": "leads",
        "password": "secret",
        "schema": "leads",
        "extra": extra,
    }
