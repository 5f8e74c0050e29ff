"""Encrypts and hashes what rests with the present key, so that an old one can go (6.4, 8.8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from zbl_provider.log.model import Rotated
from zbl_provider.log.storage.bulk import among, update_rows
from zbl_provider.log.storage.cipher import UnreadableError, excerpt_place, payload_place
from zbl_provider.log.storage.tables import attempt, delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from sqlalchemy import Connection, Row

    from zbl_provider.log.storage.cipher import Seal
    from zbl_provider.log.storage.email_hash import EmailHasher


def rotate(
    connection: Connection, seal: Seal, hasher: EmailHasher, after: int, limit: int
) -> Rotated:
    """Encrypt and hash anew what the next leads and their attempts have, by the leads' numbers."""
    hasher.prepare(connection)
    leads = connection.execute(
        select(delivery.c.id, delivery.c.webhook_id, delivery.c.payload, delivery.c.email_hash)
        .where(delivery.c.id > after)
        .order_by(delivery.c.id)
        .limit(limit)
        .with_for_update()
    ).all()
    if not leads:
        return Rotated(renewed=0, unreadable=0, after=None)
    done, unfindable = _renew_payloads(connection, seal, hasher, leads)
    answers = _answers(connection, {row.id: row.webhook_id for row in leads})
    done += _renew_answers(connection, seal, answers)
    rest = sum(row.payload is not None for row in leads) + len(answers)
    return Rotated(
        renewed=done,
        unreadable=rest - done,
        after=leads[-1].id if len(leads) == limit else None,
        unfindable=unfindable,
    )


def _renew_payloads(
    connection: Connection, seal: Seal, hasher: EmailHasher, leads: Iterable[Row[*tuple[Any, ...]]]
) -> tuple[int, int]:
    """Return how many are encrypted anew, and how many of these lose their email's hash."""
    renewed = []
    unfindable = 0
    for row in leads:
        if row.payload is None:
            continue
        place = payload_place(row.webhook_id)
        try:
            body = seal.recover(row.payload, place)
        except UnreadableError:  # counted, and left as it is, its hash too: its key may come back
            continue
        email_hash = hasher.renewed(row.email_hash, body)
        unfindable += row.email_hash is not None and email_hash is None
        renewed.append({"id": row.id, "payload": seal.close(body, place), "email_hash": email_hash})
    if renewed:
        update_rows(connection, delivery, renewed)
    return len(renewed), unfindable


class _Answer(NamedTuple):
    id: int
    sealed: bytes
    place: bytes


def _answers(connection: Connection, webhook_ids: Mapping[int, str]) -> list[_Answer]:
    columns = (
        attempt.c.id,
        attempt.c.delivery_id,
        attempt.c.resend,
        attempt.c.number,
        attempt.c.excerpt,
    )
    rows = connection.execute(
        select(*columns).where(
            attempt.c.delivery_id.in_(among(connection, webhook_ids)),
            attempt.c.excerpt.is_not(None),
        )
    )
    return [
        _Answer(attempt_id, excerpt, excerpt_place(webhook_ids[lead], resend, made))
        for attempt_id, lead, resend, made, excerpt in rows
    ]


def _renew_answers(connection: Connection, seal: Seal, answers: Iterable[_Answer]) -> int:
    renewed = []
    for answer in answers:
        try:
            excerpt = seal.recover(answer.sealed, answer.place)
        except UnreadableError:
            continue
        renewed.append({"id": answer.id, "excerpt": seal.close(excerpt, answer.place)})
    if renewed:
        update_rows(connection, attempt, renewed)
    return len(renewed)
