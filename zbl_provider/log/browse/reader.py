"""
What people ask of the log: which leads, what became of one, and how many (Contract 8.4).

Read-only. The newest leads are found at once, however many there are: pages are cut by the leads'
numbers, and what is rare is looked up by an index rather than sought among all the others.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from zbl_provider.log.browse import statistics, visibility
from zbl_provider.log.browse.model import Attempt, Bucket, Detail, Page, Query, Row, Totals
from zbl_provider.log.browse.selection import (
    CLOCKS_DIFFER,
    by_index,
    conditions,
    first_since,
    names_leads,
)
from zbl_provider.log.model import WAITING, RunKey, Status
from zbl_provider.log.storage.bulk import among
from zbl_provider.log.storage.cipher import UnreadableError, excerpt_place, payload_place
from zbl_provider.log.storage.engine import name_of, reading
from zbl_provider.log.storage.retry import Retry, retried
from zbl_provider.log.storage.tables import LARGEST_NUMBER, RUN_KEY, attempt, delivery, run

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Engine, Select
    from sqlalchemy import Row as Found

    from zbl_provider.log.storage.cipher import Seal
    from zbl_provider.log.storage.email_hash import EmailHasher

_NEAR = 10_000  # leads looked through first: they have a page of whatever is common
_RARE = 10_000  # so few can be gathered and sorted
_SOME = 500  # and read at once

_ROW = (
    delivery.c.id,
    delivery.c.webhook_id,
    delivery.c.lead_id,
    delivery.c.integration,
    delivery.c.status,
    delivery.c.reason,
    delivery.c.attempts,
    delivery.c.resend,
    delivery.c.last_status,
    delivery.c.last_kind,
    delivery.c.due_at,
    delivery.c.created_at,
    delivery.c.updated_at,
    delivery.c.delivered_at,
)


class Reader:
    """
    Answers questions about the log; each answer sees one state of it.

    While the log is away each method raises DeliveryLogUnavailable.

    :param engine: of the log's database
    :param seal: opens what rests sealed
    :param hasher: tells how emails rest
    """

    def __init__(self, engine: Engine, seal: Seal, hasher: EmailHasher) -> None:
        self._engine = engine
        self._seal = seal
        self._hasher = hasher
        self._retry = Retry(name_of(engine.url), timedelta(0))  # a person waits

    @retried
    def deliveries(self, query: Query, limit: int = 50, before: int | None = None) -> Page:
        """
        Return leads, the newest first.

        :param query: which ones
        :param limit: how many at most, 1 or more
        :param before: ``next`` of the page before; None for the first page
        """
        with reading(self._engine) as connection:
            rows = _Search(connection, query).newest(limit + 1, before)
        more = len(rows) > limit
        return Page(tuple(rows[:limit]), rows[limit - 1].delivery_id if more else None)

    @retried
    def delivery(self, delivery_id: int) -> Detail | None:
        """Return one lead and its attempts; None if there is no such number."""
        wanted = delivery.c.id == min(delivery_id, LARGEST_NUMBER)
        with reading(self._engine) as connection:
            row = connection.execute(_rows(wanted)).one_or_none()
            if row is None:
                return None
            attempts = connection.execute(_attempts(delivery_id)).all()
            rests = select(delivery.c.payload.is_not(None)).where(wanted)
            sendable = bool(connection.scalar(rests))
        made = tuple(self._attempt(attempt_row, row.webhook_id) for attempt_row in attempts)
        return Detail(_row(row), made, sendable)

    @retried
    def email_hashes(self, email: str) -> tuple[int, ...]:
        """
        Return what to find a person by: all hashes that may rest beside a lead (Contract 8.8).

        :param email: in whatever case, with or without blanks around it
        """
        with reading(self._engine) as connection:
            self._hasher.prepare(connection)
        return self._hasher.hashes(email)

    @retried
    def payload(self, delivery_id: int) -> bytes | None:
        """
        Return the body of one lead's requests (Contract 8.8); None if it was cleared, or never was.

        :raises UnreadableError: no key at hand reads it, or it is not this lead's (Contract 7.6)
        """
        wanted = select(delivery.c.webhook_id, delivery.c.payload).where(
            delivery.c.id == delivery_id
        )
        with reading(self._engine) as connection:
            row = connection.execute(wanted).one_or_none()
        if row is None or row.payload is None:
            return None
        return self._seal.open(row.payload, payload_place(row.webhook_id))

    @retried
    def unreadable(self, limit: int = 200) -> int:
        """Return how many of the newest payloads cannot be read (Contract 7.6)."""
        newest = (
            select(delivery.c.webhook_id, delivery.c.payload)
            .where(delivery.c.payload.is_not(None))
            .order_by(delivery.c.id.desc())
            .limit(limit)
        )
        with reading(self._engine) as connection:
            rows = connection.execute(newest).all()
        places = [(row.payload, payload_place(row.webhook_id)) for row in rows]
        return sum(self._opened(payload, place) is None for payload, place in places)

    def _opened(self, sealed: bytes, place: bytes) -> bytes | None:
        """Return what rests; None if it cannot be read."""
        try:
            return self._seal.open(sealed, place)
        except UnreadableError:
            return None

    @retried
    def funnel(self, query: Query) -> dict[Status, int]:
        """Return how many of the leads have which status; absent means none."""
        with reading(self._engine) as connection:
            return statistics.funnel(connection, query)

    @retried
    def activity(self, query: Query, *, now: datetime, buckets: int = 60) -> tuple[Bucket, ...]:
        """
        Return what the attempts of a period came to, stretch by stretch, the empty ones too.

        :param query: whose attempts; its period is when they began, the last seven days by default
        :param now: the present time, aware
        :param buckets: how many stretches at most; they are some minutes, hours or days long
        """
        with reading(self._engine) as connection:
            return statistics.activity(connection, query, now, buckets)

    @retried
    def integrations(self, since: datetime) -> list[Totals]:
        """
        Return what became of each integration's leads.

        :param since: of leads enrolled, and attempts begun, then or later, aware
        :return: all that are known, by name; those without leads in the period, too
        """
        with reading(self._engine) as connection:
            return statistics.integrations(connection, since)

    @retried
    def counts_by_integration(
        self, since: datetime, dags: Collection[str]
    ) -> dict[str, dict[Status, int]]:
        """
        Return how many of each integration's leads have which status; absent means none.

        :param since: of leads enrolled then or later, aware
        :param dags: only those that one of these Dags enrolled
        """
        with reading(self._engine) as connection:
            return statistics.counts_by_integration(connection, since, dags)

    @retried
    def dags(self, integration: str | None = None) -> frozenset[str]:
        """
        Return the ids of the Dags that have enrolled leads (Contract 7.2).

        :param integration: only those that have sent to this connection id
        """
        with reading(self._engine) as connection:
            return visibility.known(connection, integration)

    @retried
    def dags_by_integration(self) -> dict[str, frozenset[str]]:
        """Return the ids of the Dags that have enrolled leads for each integration, by its name."""
        with reading(self._engine) as connection:
            return visibility.by_integration(connection)

    @retried
    def dags_of(self, delivery_ids: Collection[int]) -> frozenset[str]:
        """Return the ids of the Dags that enrolled these leads."""
        with reading(self._engine) as connection:
            return visibility.of(connection, delivery_ids)

    @retried
    def statuses_of(self, delivery_ids: Collection[int]) -> dict[Status, int]:
        """Return how many of these leads have which status; unknown ones are not counted."""
        with reading(self._engine) as connection:
            rows = connection.execute(
                select(delivery.c.status, func.count())
                .where(delivery.c.id.in_(among(connection, delivery_ids)))
                .group_by(delivery.c.status)
            )
            return {Status(status): count for status, count in rows}

    def _attempt(self, row: Found[*tuple[Any, ...]], webhook_id: str) -> Attempt:
        number, resend, started_at, duration_ms, status_code, kind, detail, excerpt, *key = row
        # An attempt can be shown without its excerpt.
        opened = excerpt and self._opened(excerpt, excerpt_place(webhook_id, resend, number))
        return Attempt(
            number=number,
            resend=resend,
            started_at=started_at,
            duration_ms=duration_ms,
            status_code=status_code,
            kind=kind,
            detail=detail,
            excerpt=None if opened is None else opened.decode("utf-8", "replace"),
            run=RunKey(*key),
        )


class _Search:
    """Finds the newest rows of a query, by the way that is short for it."""

    def __init__(self, connection: Connection, query: Query) -> None:
        self._connection = connection
        self._query = query
        self._where = conditions(connection, query)

    def newest(self, limit: int, before: int | None) -> list[Row]:
        """Return the newest rows under a number, at most so many."""
        if names_leads(self._query):
            return self._fetch(limit, *([] if before is None else [delivery.c.id < before]))
        end = self._end(before)
        near = end - _NEAR
        rows = self._fetch(limit, delivery.c.id < end, delivery.c.id >= near)
        if len(rows) < limit and near > 0:
            rows += self._farther(limit - len(rows), near)
        return rows

    def _end(self, before: int | None) -> int:
        """Return a number above all that can be meant."""
        top = self._connection.scalar(select(func.max(delivery.c.id))) or 0
        end = top + 1 if before is None else min(before, top + 1)
        if self._query.until is None:
            return end
        return min(end, self._first_since(self._query.until + CLOCKS_DIFFER))

    def _farther(self, limit: int, end: int) -> list[Row]:
        # Numbers that have all that is meant, if an index finds them and they are few.
        selected = by_index(self._connection, self._query)
        if selected is not None:
            few = self._connection.scalars(selected.limit(_RARE + 1)).all()
            if len(few) <= _RARE:
                numbers = sorted((row_id for row_id in few if row_id < end), reverse=True)
                return self._among(numbers, limit)
        start = 0
        if self._query.since is not None:
            start = self._first_since(self._query.since - CLOCKS_DIFFER)
        return self._fetch(limit, delivery.c.id < end, delivery.c.id >= start)

    def _among(self, numbers: Sequence[int], limit: int) -> list[Row]:
        """Return the first rows of these numbers, of which not all need be meant."""
        rows: list[Row] = []
        for first in range(0, len(numbers), _SOME):
            some = among(self._connection, numbers[first : first + _SOME])
            rows += self._fetch(limit - len(rows), delivery.c.id.in_(some))
            if len(rows) == limit:
                break
        return rows

    def _first_since(self, moment: datetime) -> int:
        return first_since(self._connection, delivery.c.id, delivery.c.created_at, moment)

    def _fetch(self, limit: int, *within: ColumnElement[bool]) -> list[Row]:
        newest = _rows(*self._where, *within).order_by(delivery.c.id.desc()).limit(limit)
        return [_row(row) for row in self._connection.execute(newest)]


def _rows(*where: ColumnElement[bool]) -> Select[*tuple[Any, ...]]:
    return select(*_ROW, *RUN_KEY).join(run, run.c.id == delivery.c.run_id).where(*where)


def _attempts(delivery_id: int) -> Select[*tuple[Any, ...]]:
    columns = (
        attempt.c.number,
        attempt.c.resend,
        attempt.c.started_at,
        attempt.c.duration_ms,
        attempt.c.status_code,
        attempt.c.kind,
        attempt.c.detail,
        attempt.c.excerpt,
    )
    return (
        select(*columns, *RUN_KEY)
        .join(run, run.c.id == attempt.c.run_id)
        .where(attempt.c.delivery_id == delivery_id)
        .order_by(attempt.c.resend, attempt.c.number)
    )


def _row(row: Found[*tuple[Any, ...]]) -> Row:
    status = Status(row.status)
    return Row(
        delivery_id=row.id,
        webhook_id=row.webhook_id,
        lead_id=row.lead_id,
        integration=row.integration,
        status=status,
        reason=row.reason,
        attempts=row.attempts,
        resend=row.resend,
        last_status=row.last_status,
        last_kind=row.last_kind,
        due_at=row.due_at if status in WAITING else None,
        created_at=row.created_at,
        updated_at=row.updated_at,
        delivered_at=row.delivered_at,
        run=RunKey(row.dag_id, row.task_id, row.run_id, row.map_index),
    )
