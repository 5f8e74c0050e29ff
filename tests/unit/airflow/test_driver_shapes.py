"""
Drivers whose databases can't run here, by the shape of their cursors (Contract 4.2 and 6.5).

Each shape names the document or source that it was taken from.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import NamedTuple
from uuid import UUID

import pytest

from zbl_provider.dispatch.intake import read
from zbl_provider.hooks import rows

WHEN = datetime(2026, 2, 23, 17, 30, 2, tzinfo=UTC)
BORN = datetime(1990, 1, 31, tzinfo=UTC).replace(tzinfo=None)
UTC_TEXT = "2026-02-23T17:30:02Z"


class Shape(NamedTuple):
    """A cursor's description, one row, and what the lead is."""

    package: str
    columns: list[tuple[str, object]]
    row: object
    created_at: str
    custom_fields: dict[str, object]


class _LOB:
    """As oracledb's: it is read by `read`."""

    def __init__(self, content):
        self._content = content

    def read(self):
        return self._content


_LOB.__name__ = "LOB"

SHAPES = {
    # docs.snowflake.com, Python Connector API, "Data type mappings": names in capitals; VARIANT,
    # OBJECT and ARRAY as JSON text; NUMBER as int or Decimal; TIMESTAMP_TZ as an aware datetime.
    "Snowflake": Shape(
        "snowflake.connector.connection",
        [("ID", 0), ("CREATED_AT", 7), ("CITY", 2), ("REVENUE", 0), ("CUSTOM_FIELDS", 5)],
        (1, WHEN.astimezone(timezone(timedelta(hours=-3))), "Lyon", Decimal("9.50"), '{"k": 1}'),
        UTC_TEXT,
        {"k": 1, "CITY": "Lyon", "REVENUE": 9.5},
    ),
    # oracle/python-oracledb, doc/src/api_manual/lob.rst: CLOB and BLOB are LOB objects. DATE is a
    # naive datetime; names are in capitals.
    "Oracle": Shape(
        "oracledb.connection",
        [("ID", None), ("CREATED_AT", None), ("NOTE", None), ("RAW", None), ("BORN", None)],
        (1, WHEN.replace(tzinfo=None), _LOB("São"), _LOB(b"\x00"), BORN),
        UTC_TEXT,
        {"NOTE": "São", "RAW": "AA==", "BORN": "1990-01-31T00:00:00Z"},
    ),
    # apache/airflow, providers/google, hooks/bigquery.py, `_bq_cast`: TIMESTAMP is a float of
    # seconds; INTEGER, FLOAT and BOOLEAN are Python's; all else is text. Rows are lists.
    "BigQuery": Shape(
        "airflow.providers.google.cloud.hooks.bigquery",
        [("id", "INTEGER"), ("created_at", "TIMESTAMP"), ("vip", "BOOLEAN"), ("ratio", "FLOAT")],
        [1, WHEN.timestamp(), True, 1700000000.5],
        UTC_TEXT,
        {"vip": True, "ratio": 1700000000.5},
    ),
    # pymssql.readthedocs.io: DATETIME2 is a naive datetime, BIT a bool, UNIQUEIDENTIFIER a UUID,
    # MONEY a Decimal.
    "SQL Server": Shape(
        "pymssql._pymssql",
        [("id", 3), ("created_at", 4), ("key", 2), ("fee", 5)],
        (UUID(int=1), WHEN.replace(tzinfo=None), UUID(int=2), Decimal("1.0000")),
        UTC_TEXT,
        {"key": str(UUID(int=2)), "fee": 1},
    ),
    # aws/amazon-redshift-python-driver, README, "Supported types": SUPER is JSON text.
    "Redshift": Shape(
        "redshift_connector.core",
        [("id", 20), ("created_at", 1184), ("custom_fields", 4000), ("born", 1082)],
        [1, WHEN, '{"k": [1]}', date(1990, 1, 31)],
        UTC_TEXT,
        {"k": [1], "born": "1990-01-31"},
    ),
    # trinodb/trino-python-client, README, "Types": ROW is a named tuple, MAP a dict, ARRAY a list.
    "Trino": Shape(
        "trino.dbapi",
        [("id", "bigint"), ("created_at", "timestamp"), ("tags", "array"), ("map", "map")],
        [1, WHEN, ["a"], {"k": Decimal("1.5")}],
        UTC_TEXT,
        {"tags": ["a"], "map": {"k": 1.5}},
    ),
}


def _connection(shape, statements):
    """Make a connection of the driver's package that knows PEP 249's least, and no more."""

    class Cursor:
        def __init__(self):
            self._rows = [shape.row]
            self.description = [
                (name, kind, None, None, None, None, None) for name, kind in shape.columns
            ]

        def execute(self, sql):
            statements.append(sql)

        def fetchmany(self, size):
            batch, self._rows = self._rows[:size], self._rows[size:]
            return batch

        def close(self):
            pass

    class Connection:
        def cursor(self):
            return Cursor()

        def close(self):
            statements.append("closed")

    Connection.__module__ = Cursor.__module__ = shape.package
    return Connection()


@pytest.mark.parametrize("name", SHAPES)
def test_a_driver_s_row_becomes_a_lead(name, monkeypatch):
    """Each driver's own types and spelling of names arrive as the contract has them (4.2)."""
    shape, statements = SHAPES[name], []

    class Hook:
        def get_conn(self):
            return _connection(shape, statements)

    monkeypatch.setenv("AIRFLOW_CONN_LEADS", json.dumps({"conn_type": "generic"}))
    monkeypatch.setattr(rows, "database", lambda _conn_id: Hook())
    [lead] = read(rows.Rows("leads", "SELECT 1"), None)
    assert lead.created_at == shape.created_at
    assert lead.custom_fields == shape.custom_fields
    assert statements[-2:] == ["SELECT 1", "closed"]


@pytest.mark.parametrize("name", ["Snowflake", "Oracle", "Redshift"])
def test_the_session_is_at_utc(name, monkeypatch):
    """A database that has a zone for its session is asked for UTC first (6.5)."""
    statements = []
    connection = _connection(SHAPES[name], statements)

    class Hook:
        def get_conn(self):
            return connection

    monkeypatch.setattr(rows, "database", lambda _conn_id: Hook())
    list(rows.Rows("leads", "SELECT 1"))
    assert "UTC" in statements[0]
