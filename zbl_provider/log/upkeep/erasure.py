"""
Forgets a person on request.

What stays is that something was sent, when, and how it was answered; and the `webhook_id`, a hash
of the integration and the lead's id, without which the next query that finds the lead would have it
sent again (Contract 4.4).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import String, case, cast, literal, select, update

from zbl_provider.leads.payload import webhook_id
from zbl_provider.log.model import ERASED, ERASED_REASON, Erased, Status
from zbl_provider.log.storage.tables import attempt, delivery, integration, purged

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, Update


def erase(connection: Connection, lead_id: str, now: datetime) -> Erased:
    """Remove a lead's data from its rows of all integrations, but for those in flight."""
    names = connection.scalars(select(integration.c.integration)).all()
    webhook_ids = [webhook_id(name, lead_id) for name in names]
    rows = _lock(connection, webhook_ids)
    in_flight = [row for row in rows if row.status == Status.SENDING and row.due_at > now]
    erasable = [row.id for row in rows if row not in in_flight]
    connection.execute(_forgotten(erasable, now))
    # Of a purged lead there may be nothing else, unless it was sent again on request.
    connection.execute(
        update(purged).where(purged.c.webhook_id.in_(webhook_ids)).values(erased=True)
    )
    attempts = connection.execute(
        update(attempt).where(attempt.c.delivery_id.in_(erasable)).values(excerpt=None, detail=None)
    )
    return Erased(
        deliveries=len(erasable),
        payloads=sum(row.has_payload for row in rows if row.id in erasable),
        attempts=attempts.rowcount,
        in_flight=len(in_flight),
    )


def _lock(connection: Connection, webhook_ids: Sequence[str]) -> Sequence[Row[*tuple[Any, ...]]]:
    # By its ids, which are indexed as the lead's own id is not; by number, as everyone locks leads.
    return connection.execute(
        select(
            delivery.c.id,
            delivery.c.status,
            delivery.c.due_at,
            delivery.c.payload.is_not(None).label("has_payload"),
        )
        .where(
            delivery.c.webhook_id.in_(webhook_ids),
            delivery.c.fingerprint != ERASED,
        )
        .order_by(delivery.c.id)
        .with_for_update()
    ).all()


def _forgotten(ids: list[int], now: datetime) -> Update:
    delivered = delivery.c.status == Status.DELIVERED
    return (
        update(delivery)
        .where(delivery.c.id.in_(ids))
        .values(
            lead_id=literal("erased-") + cast(delivery.c.id, String),
            status=case((delivered, literal(Status.DELIVERED.value)), else_=Status.FILTERED.value),
            reason=case((delivered, None), else_=ERASED_REASON),
            # A fingerprint of the lead would tell whether a guess at its data is right.
            fingerprint=ERASED,
            payload=None,
            email_hash=None,
            due_at=None,
            claim=None,
            updated_at=now,
        )
    )
