"""Encrypts what rests with the present key, so that an old one can go (Contract 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from zbl_provider.log.model import Rotated
from zbl_provider.log.storage.bulk import update_rows
from zbl_provider.log.storage.cipher import UnreadableError
from zbl_provider.log.storage.tables import attempt, delivery

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection, Row, Table

    from zbl_provider.log.storage.cipher import Seal


def rotate(connection: Connection, seal: Seal, after: int, limit: int) -> Rotated:
    """Encrypt anew what the next leads and their attempts have, by the leads' numbers."""
    leads = connection.execute(
        select(delivery.c.id, delivery.c.payload)
        .where(delivery.c.id > after)
        .order_by(delivery.c.id)
        .limit(limit)
        .with_for_update()
    ).all()
    answers = connection.execute(
        select(attempt.c.id, attempt.c.excerpt).where(
            attempt.c.delivery_id.in_([row.id for row in leads]), attempt.c.excerpt.is_not(None)
        )
    ).all()
    done, unreadable = _renew(connection, seal, delivery, leads)
    more, more_unreadable = _renew(connection, seal, attempt, answers)
    return Rotated(
        renewed=done + more,
        unreadable=unreadable + more_unreadable,
        after=leads[-1].id if len(leads) == limit else None,
    )


def _renew(
    connection: Connection, seal: Seal, table: Table, rows: Iterable[Row[*tuple[Any, ...]]]
) -> tuple[int, int]:
    column = "payload" if table is delivery else "excerpt"
    renewed = []
    unreadable = 0
    for number, stored in rows:
        if stored is None:
            continue
        try:
            renewed.append({"id": number, column: seal.close(seal.open(stored))})
        except UnreadableError:
            unreadable += 1
    if renewed:
        update_rows(connection, table, renewed)
    return len(renewed), unreadable
