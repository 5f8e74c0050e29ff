"""What the log knows of leads: where they stand, what a purge has left, what nobody minds."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import BigInteger, Text, bindparam, case, cast, exists, false, func, select
from sqlalchemy.dialects.postgresql import JSON

from zbl_provider.log.model import ERASED, ERASED_REASON, Status
from zbl_provider.log.outbox import holds, outage
from zbl_provider.log.outbox.decision import Known
from zbl_provider.log.storage.bulk import as_json, listed
from zbl_provider.log.storage.tables import TRIED_SQL, delivery, purged, run_delivery

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection, Select

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


class Unsettled(NamedTuple):
    """
    Which of the leads that were asked for need more than a look at their ids.

    :param webhook_ids: those that are not settled as asked, or that the log does not know
    :param own: of the others, those that are the run's own
    """

    webhook_ids: set[str]
    own: set[str]


def unsettled(
    connection: Connection,
    webhook_ids: Collection[str],
    statuses: tuple[Status, ...],
    run_id: int | None = None,
) -> Unsettled:
    """
    Return those leads that do not stand at one of some statuses, and are not erased either.

    :param webhook_ids: some hundreds
    :param statuses: those at which a lead counts as settled
    :param run_id: the run whose own leads are told from others; None is a run without any
    """
    query = _unsettled(connection.dialect.name, statuses, run_id is not None)
    parameters = {"ids": as_json(webhook_ids), "run_id": run_id}
    rest, own = connection.execute(query, parameters).one()
    return Unsettled(set((rest or "").split()), set((own or "").split()))


@cache
def _unsettled(dialect: str, statuses: tuple[Status, ...], of_run: bool) -> Select[str, str]:
    """
    Build the query once: it runs for each few hundred rows of each query that looks back.

    It answers with two texts, since nearly all leads are in neither, and a row for each lead would
    cost more than to find it.
    """
    ids = bindparam("ids", type_=Text)
    if dialect == "sqlite":
        given = func.json_each(ids).table_valued("value", name="given")
    else:
        elements = func.json_array_elements_text(cast(ids, JSON))
        given = elements.table_valued("value", name="given").render_derived()
    webhook_id = cast(given.c.value, Text)
    is_settled = (delivery.c.webhook_id == webhook_id) & (
        delivery.c.status.in_(statuses) | (delivery.c.fingerprint == ERASED)
    )
    own = _owned_by(bindparam("run_id", type_=BigInteger) if of_run else None)
    settled = delivery.c.id.is_not(None)
    return select(
        func.aggregate_strings(case((~settled, webhook_id)), " "),
        func.aggregate_strings(case((settled & own, webhook_id)), " "),
    ).select_from(given.outerjoin(delivery, is_settled))


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
    query = _present(connection.dialect.name, run_id is not None, lock)
    rows = connection.execute(query, {"ids": as_json(webhook_ids), "run_id": run_id})
    return {
        webhook_id: Known(delivery_id, Status(status), *facts)
        for webhook_id, delivery_id, status, *facts in rows
    }


@cache
def _present(dialect: str, of_run: bool, lock: bool) -> Select[Any]:
    """Build the query once: it runs for each batch, and what builds it would be garbage."""
    query = select(
        delivery.c.webhook_id,
        delivery.c.id,
        delivery.c.status,
        delivery.c.reason,
        delivery.c.fingerprint,
        delivery.c.attempts,
        delivery.c.resend,
        _owned_by(bindparam("run_id", type_=BigInteger) if of_run else None).label("own"),
        delivery.c.payload.is_not(None).label("has_payload"),
        delivery.c.updated_at,
    ).where(delivery.c.webhook_id.in_(listed(dialect, bindparam("ids", type_=Text), Text())))
    return query.order_by(delivery.c.id).with_for_update() if lock else query


def purged_ids(connection: Connection, webhook_ids: Collection[str]) -> dict[str, bool]:
    """
    Return those leads of which nothing but the id is left (Contract 6.4).

    :return: webhook id to whether the lead was erased on request; if not, it was delivered
    """
    if not webhook_ids:
        return {}
    query = _purged(connection.dialect.name)
    return dict(connection.execute(query, {"ids": as_json(webhook_ids)}).all())


@cache
def _purged(dialect: str) -> Select[Any]:
    ids = listed(dialect, bindparam("ids", type_=Text), Text())
    return select(purged.c.webhook_id, purged.c.erased).where(purged.c.webhook_id.in_(ids))


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


def _owned_by(run_id: int | ColumnElement[int] | None) -> ColumnElement[bool]:
    if run_id is None:
        return false()
    of_run = run_delivery.c.run_id == run_id
    joined = exists().where(of_run, run_delivery.c.delivery_id == delivery.c.id)
    # Asked once a statement: most runs have taken on no lead of another run.
    any_joined = select(run_delivery.c.run_id).where(of_run).limit(1).scalar_subquery()
    return (delivery.c.run_id == run_id) | (any_joined.is_not(None) & joined)
