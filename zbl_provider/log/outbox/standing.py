"""What sensors and watchers ask of the log: which leads it knows, and which nobody minds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, false, func, select

from zbl_provider.log.model import Status
from zbl_provider.log.outbox import holds
from zbl_provider.log.outbox.decision import ERASED, Known
from zbl_provider.log.storage.bulk import among
from zbl_provider.log.storage.tables import delivery, purged

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Connection

_SOME = 500  # asked for in one statement
_MANY = 1000  # counted no further


def known(connection: Connection, webhook_ids: Collection[str]) -> dict[str, Known]:
    """Return leads as a run finds them that has none of them yet."""
    asked = list(webhook_ids)
    found: dict[str, Known] = {}
    for first in range(0, len(asked), _SOME):
        some = asked[first : first + _SOME]
        found |= _present(connection, some)
        found |= _purged(connection, [one for one in some if one not in found])
    return found


def overdue(connection: Connection, integration: str, before: datetime, now: datetime) -> int:
    """Count leads that were due before a time, and that nobody sends or keeps back."""
    state = holds.find(connection, integration)
    of_it = delivery.c.integration == integration
    at_work = exists().where(
        of_it, delivery.c.due_at > now, delivery.c.status == Status.SENDING.value
    )
    if state.held or state.paused or connection.scalar(select(at_work)):
        return 0
    late = select(delivery.c.id).where(of_it, delivery.c.due_at < before).limit(_MANY)
    return connection.scalar(select(func.count()).select_from(late.subquery())) or 0


def _present(connection: Connection, webhook_ids: Collection[str]) -> dict[str, Known]:
    query = select(
        delivery.c.webhook_id,
        delivery.c.id,
        delivery.c.status,
        delivery.c.reason,
        delivery.c.fingerprint,
        delivery.c.attempts,
        delivery.c.resend,
        false().label("own"),
        delivery.c.payload.is_not(None).label("has_payload"),
    ).where(delivery.c.webhook_id.in_(among(connection, webhook_ids)))
    return {
        key: Known(number, Status(status), *facts)
        for key, number, status, *facts in connection.execute(query)
    }


def _purged(connection: Connection, webhook_ids: Collection[str]) -> dict[str, Known]:
    """Return those of which nothing but the id is left: delivered, or erased on request (6.4)."""
    if not webhook_ids:
        return {}
    query = select(purged.c.webhook_id, purged.c.erased).where(
        purged.c.webhook_id.in_(among(connection, webhook_ids))
    )
    return {
        key: Known(
            id=0,
            status=Status.FILTERED if erased else Status.DELIVERED,
            reason="erased on request" if erased else None,
            fingerprint=ERASED,
            attempts=0,
            resend=0,
            own=False,
            has_payload=False,
        )
        for key, erased in connection.execute(query)
    }
