"""What the log knows of leads: where they stand, what a purge has left, what nobody minds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, false, func, select

from zbl_provider.log.model import ERASED, ERASED_REASON, Status
from zbl_provider.log.outbox import holds, outage
from zbl_provider.log.outbox.decision import Known
from zbl_provider.log.storage.bulk import among
from zbl_provider.log.storage.tables import TRIED_SQL, delivery, purged, run_delivery

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

_SOME = 500  # asked for in one statement
_MANY = 1000  # counted no further


def known(connection: Connection, webhook_ids: Collection[str]) -> dict[str, Known]:
    """Return leads as a run finds them that has none of them yet."""
    ids = list(webhook_ids)
    leads: dict[str, Known] = {}
    for first in range(0, len(ids), _SOME):
        some = ids[first : first + _SOME]
        leads |= present(connection, some)
        rest = [webhook_id for webhook_id in some if webhook_id not in leads]
        for webhook_id, erased in purged_ids(connection, rest).items():
            leads[webhook_id] = Known(
                id=0,
                status=Status.FILTERED if erased else Status.DELIVERED,
                reason=ERASED_REASON if erased else None,
                fingerprint=ERASED,
                attempts=0,
                resend=0,
                own=False,
                has_payload=False,
            )
    return leads


def present(
    connection: Connection,
    webhook_ids: Iterable[str],
    run_id: int | None = None,
    *,
    lock: bool = False,
) -> dict[str, Known]:
    """
    Return those leads of which the log has a row.

    :param run_id: the run whose own leads are told from others; None is a run without any
    :param lock: until the end of the transaction
    """
    query = select(
        delivery.c.webhook_id,
        delivery.c.id,
        delivery.c.status,
        delivery.c.reason,
        delivery.c.fingerprint,
        delivery.c.attempts,
        delivery.c.resend,
        _owned_by(run_id).label("own"),
        delivery.c.payload.is_not(None).label("has_payload"),
        delivery.c.updated_at,
    ).where(delivery.c.webhook_id.in_(among(connection, webhook_ids)))
    if lock:
        query = query.order_by(delivery.c.id).with_for_update()
    return {
        webhook_id: Known(delivery_id, Status(status), *facts)
        for webhook_id, delivery_id, status, *facts in connection.execute(query)
    }


def purged_ids(connection: Connection, webhook_ids: Collection[str]) -> dict[str, bool]:
    """
    Return those leads of which nothing but the id is left (Contract 6.4).

    :return: webhook id to whether the lead was erased on request; if not, it was delivered
    """
    if not webhook_ids:
        return {}
    query = select(purged.c.webhook_id, purged.c.erased).where(
        purged.c.webhook_id.in_(among(connection, webhook_ids))
    )
    return dict(connection.execute(query).all())


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
    if state.down and outage.any_tried(connection, integration):
        late = late.where(TRIED_SQL)  # the others wait for one of these
    return connection.scalar(select(func.count()).select_from(late.subquery())) or 0


def _owned_by(run_id: int | None) -> ColumnElement[bool]:
    if run_id is None:
        return false()
    joined = exists().where(
        run_delivery.c.run_id == run_id, run_delivery.c.delivery_id == delivery.c.id
    )
    return (delivery.c.run_id == run_id) | joined
