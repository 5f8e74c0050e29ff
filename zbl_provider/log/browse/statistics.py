"""The log in figures: how many leads stand where, how many attempts went well, and how fast."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, Integer, case, cast, extract, func, select

from zbl_provider.log.browse.model import Bucket, Totals
from zbl_provider.log.browse.selection import (
    CLOCKS_DIFFER,
    conditions,
    first_since,
    known_integrations,
    names_leads,
    of_runs,
    runs,
    runs_of,
)
from zbl_provider.log.model import Status
from zbl_provider.log.storage.tables import attempt, delivery, run

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import ColumnElement, Connection, Select

    from zbl_provider.log.browse.model import Query

_LONG_MS = 1000
_WEEK = timedelta(days=7)
_MINUTE, _HOUR, _DAY = 60, 3600, 86400
_WIDTHS = (
    *(_MINUTE * n for n in (1, 5, 15, 30)),
    *(_HOUR * n for n in (1, 3, 6, 12)),
    *(_DAY * n for n in (1, 7, 30, 90, 365)),
)


def funnel(connection: Connection, query: Query) -> dict[Status, int]:
    """Return how many of the leads have which status."""
    where = conditions(connection, query)
    if query.since:
        first = first_since(
            connection, delivery.c.id, delivery.c.created_at, query.since - CLOCKS_DIFFER
        )
        where.append(delivery.c.id >= first)
    counts = select(delivery.c.status, func.count()).where(*where).group_by(delivery.c.status)
    return {Status(status): count for status, count in connection.execute(counts)}


def activity(
    connection: Connection, query: Query, now: datetime, buckets: int
) -> tuple[Bucket, ...]:
    """Return the attempts of the query's period, by stretches of time."""
    until = query.until or now
    since = query.since or until - _WEEK
    seconds = (until - since).total_seconds()
    width = next((width for width in _WIDTHS if seconds <= width * buckets), _WIDTHS[-1])
    # An attempt that began now is in: without an end given, there is none.
    meant = select().where(*_attempts(connection, replace(query, since=since)))
    stretches = _count(connection, _seconds(connection) // width, meant)
    first, last = int(since.timestamp()) // width, int(until.timestamp()) // width
    collected = []
    for stretch in range(first, last + 1):
        answers = stretches.get(stretch, _Answers())
        bucket = Bucket(
            start=datetime.fromtimestamp(stretch * width, UTC),
            width=timedelta(seconds=width),
            delivered=answers.delivered,
            failed=answers.failed,
            p50_ms=answers.percentile(50),
            p95_ms=answers.percentile(95),
        )
        collected.append(bucket)
    return tuple(collected)


def integrations(connection: Connection, since: datetime) -> list[Totals]:
    """Return what became of each integration's leads."""
    counts = counts_by_integration(connection, since)
    first = first_since(connection, attempt.c.id, attempt.c.started_at, since - CLOCKS_DIFFER)
    meant = (
        select()
        .join_from(attempt, run, run.c.id == attempt.c.run_id)
        .where(attempt.c.id >= first, attempt.c.started_at >= since)
    )
    answers = _count(connection, run.c.integration, meant)
    return [
        Totals(
            integration=name,
            counts=counts.get(name, {}),
            p50_ms=answers.get(name, _Answers()).percentile(50),
            p95_ms=answers.get(name, _Answers()).percentile(95),
        )
        for name in sorted({*known_integrations(connection), *counts, *answers})
    ]


def counts_by_integration(
    connection: Connection, since: datetime, dags: Collection[str] | None = None
) -> dict[str, dict[Status, int]]:
    """Return how many leads of each integration have which status; None is those of all Dags."""
    first = first_since(connection, delivery.c.id, delivery.c.created_at, since - CLOCKS_DIFFER)
    leads = select(delivery.c.integration, delivery.c.status, func.count()).where(
        delivery.c.id >= first, delivery.c.created_at >= since
    )
    if dags is not None:
        leads = leads.where(delivery.c.run_id.in_(runs_of(dags)))
    counts: dict[str, dict[Status, int]] = {}
    for name, status, count in connection.execute(
        leads.group_by(delivery.c.integration, delivery.c.status)
    ):
        counts.setdefault(name, {})[Status(status)] = count
    return counts


class _Answers:
    """Attempts counted by how they ended and how long they took."""

    def __init__(self) -> None:
        self.delivered = 0
        self.failed = 0
        self._durations: Counter[int] = Counter()

    def add(self, delivered: bool, answered: bool, duration: int, count: int) -> None:
        if delivered:
            self.delivered += count
        else:
            self.failed += count
        if answered:
            self._durations[duration] += count

    def percentile(self, percent: int) -> int | None:
        """Return how long that share of the answers took at most."""
        # Rounded up, as PostgreSQL's percentile_disc does.
        wanted = -(-self._durations.total() * percent // 100)
        for duration in sorted(self._durations):
            wanted -= self._durations[duration]
            if wanted <= 0:
                return duration
        return None


def _attempts(connection: Connection, query: Query) -> list[ColumnElement[bool]]:
    """Return what holds for each attempt that the query means; its period is when they began."""
    collected: list[ColumnElement[bool]] = []
    if query.since:
        first = first_since(
            connection, attempt.c.id, attempt.c.started_at, query.since - CLOCKS_DIFFER
        )
        collected += [attempt.c.id >= first, attempt.c.started_at >= query.since]
    if query.until:
        collected.append(attempt.c.started_at < query.until)
    if of_runs(query) or query.integration is not None:
        collected.append(attempt.c.run_id.in_(runs(query)))
    if query.dags is not None:
        collected.append(attempt.c.run_id.in_(runs_of(query.dags)))
    if query.status or names_leads(query):
        leads = replace(query, since=None, until=None)
        meant = select(delivery.c.id).where(*conditions(connection, leads))
        collected.append(attempt.c.delivery_id.in_(meant))
    return collected


def _count(
    connection: Connection, key: ColumnElement[Any], meant: Select[*tuple[Any, ...]]
) -> dict[Any, _Answers]:
    """
    Count attempts by a key.

    The database counts equal durations, and sorts nothing: from those counts every percentile can
    be told, on every database alike.
    """
    duration = attempt.c.duration_ms
    attempts = meant.add_columns(
        key.label("key"),
        attempt.c.status_code.between(200, 299).label("delivered"),
        attempt.c.status_code.is_not(None).label("answered"),
        # A long one to the hundredth of a second, so that there are never many different ones.
        case((duration < _LONG_MS, duration), else_=duration // 10 * 10).label("duration"),
    ).subquery()
    collected: dict[Any, _Answers] = {}
    for name, *facts in connection.execute(select(*attempts.c, func.count()).group_by(*attempts.c)):
        collected.setdefault(name, _Answers()).add(*facts)
    return collected


def _seconds(connection: Connection) -> ColumnElement[int]:
    epoch = extract("epoch", attempt.c.started_at)
    if connection.dialect.name == "sqlite":
        return cast(epoch, Integer)
    return cast(func.floor(epoch), BigInteger)
