"""Clears personal data that no resend needs any more (Contract 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select, update

from zbl_provider.log.tables import attempt, delivery

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection


def purge_payloads(connection: Connection, before: datetime, limit: int) -> int:
    """Clear what was delivered before the given time; the rows stay, so that none is sent again."""
    old = connection.scalars(
        select(delivery.c.id)
        .where(delivery.c.delivered_at < before, delivery.c.payload.is_not(None))
        .order_by(delivery.c.delivered_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    ).all()
    connection.execute(update(delivery).where(delivery.c.id.in_(old)).values(payload=None))
    connection.execute(update(attempt).where(attempt.c.delivery_id.in_(old)).values(excerpt=None))
    return len(old)
