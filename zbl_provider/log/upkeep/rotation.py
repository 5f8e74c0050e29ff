"""Encrypts what rests with the present key, so that an old one can go (Contract 6.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import select

from zbl_provider.log.model import Rotated
from zbl_provider.log.storage.bulk import among, update_rows
from zbl_provider.log.storage.cipher import UnreadableError, excerpt_place, payload_place
from zbl_provider.log.storage.tables import attempt, delivery

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Column, Connection

    from zbl_provider.log.storage.cipher import Seal


def rotate(connection: Connection, seal: Seal, after: int, limit: int) -> Rotated:
    """Encrypt anew what the next leads and their attempts have, by the leads' numbers."""
    leads = connection.execute(
        select(delivery.c.id, delivery.c.webhook_id, delivery.c.payload)
        .where(delivery.c.id > after)
        .order_by(delivery.c.id)
        .limit(limit)
        .with_for_update()
    ).all()
    if not leads:
        return Rotated(renewed=0, unreadable=0, after=None)
    webhook_ids = {row.id: row.webhook_id for row in leads}
    answers = connection.execute(
        select(
            attempt.c.id,
            attempt.c.delivery_id,
            attempt.c.resend,
            attempt.c.number,
            attempt.c.excerpt,
        ).where(
            attempt.c.delivery_id.in_(among(connection, webhook_ids)),
            attempt.c.excerpt.is_not(None),
        )
    ).all()
    payloads = [
        _Stored(row.id, row.payload, payload_place(row.webhook_id))
        for row in leads
        if row.payload is not None
    ]
    excerpts = [
        _Stored(number, excerpt, excerpt_place(webhook_ids[lead], resend, made))
        for number, lead, resend, made, excerpt in answers
    ]
    done = _renew(connection, seal, delivery.c.payload, payloads)
    done += _renew(connection, seal, attempt.c.excerpt, excerpts)
    return Rotated(
        renewed=done,
        unreadable=len(payloads) + len(excerpts) - done,
        after=leads[-1].id if len(leads) == limit else None,
    )


class _Stored(NamedTuple):
    id: int
    sealed: bytes
    place: bytes


def _renew(
    connection: Connection, seal: Seal, column: Column[bytes], stored: Iterable[_Stored]
) -> int:
    renewed = []
    for row in stored:
        try:
            renewed.append({"id": row.id, column.name: seal.renew(row.sealed, row.place)})
        except UnreadableError:  # counted, and left as it is
            continue
    if renewed:
        update_rows(connection, column.table, renewed)
    return len(renewed)
