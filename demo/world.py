"""The three integrations of the demo, and how the world beyond them behaves."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from demo import leads
from tests.support.receiver import Received, Reply, is_signed

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Integration:
    """One destination: its connection in Airflow, and what its receiver asks for.

    :param name: id of the connection, and of the task that serves it.
    :param about: its settings in a few words.
    :param path: where its receiver listens; a secret, as with any catch-hook.
    :param header: name and value its receiver wants to see.
    :param extra: the rest of the connection's settings.
    :param chosen: SQL condition of the task's query.
    :param passes: SQL condition of its filters, written a second time to check against.
    """

    name: str
    about: str
    path: str
    header: tuple[str, str] = field(repr=False)
    extra: Mapping[str, Any]
    chosen: str
    passes: str

    def connection(self, receiver: str, authority: Path, **headers: str) -> dict[str, Any]:
        """Return the fields of its connection; `headers` in place of the right one."""
        secret_headers = headers or dict([self.header])
        extra = {**self.extra, "secret_headers": secret_headers, "verify": str(authority)}
        return {"host": receiver + self.path, "extra": extra}

    def expected(self, database: Path) -> Expected:
        """Ask the leads database, in plain SQL, what must become of each lead."""
        # Of rows with the same id the one that passes counts.
        passes = f"max(status = 'qualified' AND coalesce({self.passes}, 0))"
        query = f"SELECT id, {passes} FROM leads WHERE {self.chosen} GROUP BY id"
        with closing(sqlite3.connect(database)) as connection:
            passed = dict(connection.execute(query))
        invalid = {leads.INVALID, leads.UNDECODABLE}
        special = invalid | ({leads.REFUSED} if self.name == "crm" else set())
        return Expected(
            delivered=frozenset(id_ for id_, ok in passed.items() if ok) - special,
            filtered=sum(not ok for ok in passed.values()),
            invalid=len(invalid & passed.keys()),
            error=int(self.name == "crm"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What the delivery log must say in the end: ids of those delivered, and counts."""

    delivered: frozenset[str]
    filtered: int
    invalid: int
    error: int


INTEGRATIONS = (
    Integration(
        name="crm",
        about="leads with a score of 40 or more",
        path="/crm/v2/leads",
        header=("X-Api-Key", "k-7d41f0"),
        extra={"min_score": 40},
        chosen="1",
        passes="score >= 40",
    ),
    Integration(
        name="brazil_team",
        about="leads of two lists; requests are signed",
        path="/hooks/catch/184467/b3xq1",
        header=("X-Team", "brasil"),
        extra={
            "lists": ["Google Ads Campaign", "list-1"],
            "signing_secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        },
        chosen="country = 'BR'",
        passes="list_name = 'Google Ads Campaign' OR list_id = 'list-1'",
    ),
    Integration(
        name="call_center",
        about="directors with an email address; its token is out of date",
        path="/webhook/5f1e/new-call",
        header=("Authorization", "Bearer right-token"),
        extra={"field_filters": ["job_title contains director", "email is not empty"]},
        chosen="phone IS NOT NULL",
        passes="lower(job_title) LIKE '%director%' AND email IS NOT NULL",
    ),
)
WRONG_HEADER = {"Authorization": "Bearer old-token"}
_BY_PATH = {integration.path: integration for integration in INTEGRATIONS}


def answer(request: Received) -> Reply:
    """Answer as the real world does: nearly always 200, and now and then not."""
    integration = _BY_PATH.get(request.path)
    if integration is None:
        return Reply(404, b"no such hook")
    name, value = integration.header
    if request.headers.get(name.lower()) != value:
        return Reply(401, b'{"error": "unknown token"}')
    secret = integration.extra.get("signing_secret")
    if secret and not is_signed(request, secret):
        return Reply(400, b'{"error": "wrong signature"}')
    if integration.name == "crm" and request.lead_id == leads.REFUSED:
        return Reply(500, b"<h1>Server error</h1>")
    if request.before < _bad_moments(request.lead_id):
        return Reply(503, b"try again later")
    return Reply(after=0.02)


def _bad_moments(lead_id: str) -> int:
    n = int(lead_id.rpartition("-")[2])
    if n % 90 == 11:
        return 2
    return int(n % 20 == 3)
