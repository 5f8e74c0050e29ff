"""Clears what no resend and no reader needs any more (Contract 6.4), in bounded steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import delete, or_, select, update

from zbl_provider.log.browse.selection import first_since
from zbl_provider.log.model import ERASED, Status
from zbl_provider.log.storage.bulk import among, insert_missing
from zbl_provider.log.storage.tables import attempt, delivery, purged, run, run_delivery

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection

_FIRST_SUCCESS, _LAST_SUCCESS = 200, 299


def purge_payloads(connection: Connection, before: datetime, limit: int) -> int:
    """Clear what was delivered before the given time; the rows stay, so that none is sent again."""
    old = connection.scalars(
        select(delivery.c.id)
        .where(delivery.c.delivered_at < before, delivery.c.payload.is_not(None))
        .order_by(delivery.c.delivered_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if not old:
        return 0
    chosen = among(connection, old)
    connection.execute(
        update(delivery).where(delivery.c.id.in_(chosen)).values(payload=None, email_hash=None)
    )
    connection.execute(
        update(attempt).where(attempt.c.delivery_id.in_(chosen)).values(excerpt=None)
    )
    return len(old)


def purge_rows(connection: Connection, before: datetime, limit: int) -> int:
    """
    Delete leads that were settled before the given time, with their attempts.

    Only rows as old as that are looked at, so that a step costs the same however long the log is;
    leads that wait, or were settled lately, stay.
    """
    young = first_since(connection, delivery.c.id, delivery.c.created_at, before)
    old = connection.scalars(
        select(delivery.c.id)
        .where(
            delivery.c.id < young,
            delivery.c.due_at.is_(None),
            delivery.c.updated_at < before,
        )
        .order_by(delivery.c.id)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    if old:
        _remember(connection, old)
        chosen = among(connection, old)
        connection.execute(delete(attempt).where(attempt.c.delivery_id.in_(chosen)))
        connection.execute(delete(run_delivery).where(run_delivery.c.delivery_id.in_(chosen)))
        connection.execute(delete(delivery).where(delivery.c.id.in_(chosen)))
    return len(old)


def purge_runs(connection: Connection, before: datetime, limit: int) -> None:
    """
    Delete old runs without leads: they have nothing to say, and begin anew when they are cleared.

    In a transaction of its own: a clear locks its run before its leads.
    """
    enrolled = select(delivery.c.id).where(delivery.c.run_id == run.c.id).exists()
    joined = select(run_delivery.c.delivery_id).where(run_delivery.c.run_id == run.c.id).exists()
    oldest = select(run.c.id).order_by(run.c.id).limit(limit)
    empty = connection.scalars(
        select(run.c.id)
        .where(run.c.id.in_(oldest), run.c.created_at < before, ~enrolled, ~joined)
        .order_by(run.c.id)
        .with_for_update(skip_locked=True)
    ).all()
    if empty:
        connection.execute(delete(run).where(run.c.id.in_(among(connection, empty))))


def _remember(connection: Connection, ids: Sequence[int]) -> None:
    """Keep the ids of what was delivered, ever, and of what a person wants forgotten."""
    delivered = (
        select(attempt.c.id)
        .where(
            attempt.c.delivery_id == delivery.c.id,
            attempt.c.status_code.between(_FIRST_SUCCESS, _LAST_SUCCESS),
        )
        .exists()
    )
    erased = delivery.c.fingerprint == ERASED
    settled = or_(delivery.c.status == Status.DELIVERED, erased, delivered)
    rows = connection.execute(
        select(delivery.c.webhook_id, erased.label("erased")).where(
            delivery.c.id.in_(among(connection, ids)), settled
        )
    )
    insert_missing(connection, purged, [dict(row) for row in rows.mappings()])
