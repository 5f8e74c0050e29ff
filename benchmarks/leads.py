"""Leads of the example's size, the database they are read from, and the integration they go to."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

IN_FLIGHT = 64
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105  of the specification's examples
COLUMNS = (
    "id, email, name, phone, company, score, status, custom_fields, email_valid, phone_valid, "
    "cnpj_valid, cnpj_status, ip_risk_score, ip_proxy, ip_vpn, created_at, qualified_at, "
    "list_id, list_name"
)
NAMES = COLUMNS.split(", ")


def rows(count: int, first: int = 0) -> Iterator[tuple[Any, ...]]:
    """Give leads of the example's size, numbered from the first."""
    custom = json.dumps({"job_title": "Sales Director", "city": "New York"})
    for n in range(first, first + count):
        yield (
            f"lead-{n:08}", f"john.{n}@company.com", "John Smith", "+5511999999999", "Company XYZ",
            85, "qualified", custom, 1, 1, 1, "Active", 5, 0, 0,
            "2026-02-23T14:30:00Z", "2026-02-23T14:30:02Z", "list-uuid", "Google Ads Campaign",
        )  # fmt: skip


def write_leads(path: Path, count: int, first: int = 0) -> None:
    """Make the SQLite database that leads are read from."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE leads ({COLUMNS})")
        marks = ", ".join("?" * len(NAMES))
        connection.executemany(f"INSERT INTO leads VALUES ({marks})", rows(count, first))


def read_rows(path: str) -> Iterator[tuple[list[str], tuple[Any, ...]]]:
    """Read the leads back as a query gives them."""
    with closing(sqlite3.connect(path)) as connection:
        cursor = connection.execute("SELECT * FROM leads")
        columns = [column[0] for column in cursor.description]
        for row in cursor:
            yield columns, row


def bodies(path: str) -> list[bytes]:
    """Return the payloads of all leads, ready to be posted."""
    from zbl_provider.dispatch.intake import Unreadable, read
    from zbl_provider.leads import payload

    leads = read(read_rows(path), None)
    return [
        payload.encode(payload.document(lead)) for lead in leads if not isinstance(lead, Unreadable)
    ]


def extra(**settings: object) -> dict[str, object]:
    """Return the Extra of a connection that signs and filters."""
    return {
        "signing_secret": SECRET,
        "min_score": 50,
        "field_filters": ["city is not empty"],
        **settings,
    }
