"""Takes what is due, so that one worker at a time has it: leased, and fenced by a token."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from sqlalchemy import bindparam, case, select, update

from zbl_provider.log.model import ORPHANED, Claimed, Status
from zbl_provider.log.outbox import holds, outage
from zbl_provider.log.outbox.runs import join, own_ids
from zbl_provider.log.storage.cipher import UnreadableError, payload_place
from zbl_provider.log.storage.engine import take_turns
from zbl_provider.log.storage.tables import TRIED_SQL, delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime, timedelta

    from sqlalchemy import ColumnElement, Connection, Row, Select

    from zbl_provider.log.storage.cipher import Seal

_HELD = update(delivery).where(
    delivery.c.id == bindparam("row"),
    delivery.c.claim == bindparam("token"),
    delivery.c.status == Status.SENDING,
)
_RELEASE = _HELD.values(
    status=case((delivery.c.attempts > 0, Status.RETRYING.value), else_=Status.PENDING.value),
    claim=None,
)
_GIVE_UP = _HELD.values(status=Status.ERROR, claim=None, due_at=None)


class Lease(NamedTuple):
    """
    What a claim holds its leads by.

    :param token: no other claim ever has it
    :param until: when others may claim them, aware
    """

    token: str
    until: datetime

    @classmethod
    def begin(cls, now: datetime, duration: timedelta) -> Self:
        """Return a lease that begins now."""
        return cls(secrets.token_hex(8), now + duration)


def claim(
    connection: Connection,
    *,
    integration: str,
    run_id: int,
    lease: Lease,
    limit: int,
    now: datetime,
    only_own: bool,
    probe: bool,
    retries_only: bool,
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Return the rows that this lease holds from now on."""
    state = holds.find(connection, integration)
    kept_back = state.held or state.paused or state.down
    probing = bool(kept_back) and probe and _idle(connection, integration, now)
    if state.paused and not only_own:
        # One lead a minute: else runs that follow each other at once would spend them all. Who has
        # a single lead has nothing else to try.
        probing = probing and outage.may_probe(connection, integration, now)
    if state.held or (state.paused and not probing):
        return ()
    if state.down and not state.paused:
        # The leads that were tried go on; only when none of them is left another is tried.
        probing = probing and outage.may_probe(connection, integration, now)
        retries_only = retries_only or not probing or outage.any_tried(connection, integration)
        limit = limit if retries_only else 1
    of_it = delivery.c.integration == integration
    order: tuple[ColumnElement[Any], ...] = (delivery.c.due_at, delivery.c.id)
    if state.paused:
        # A lead that was the probe before goes on to be it: else each would wait for its retries.
        order, limit = (delivery.c.attempts == 0, *order), 1
    due = select(delivery.c.id).where(of_it, delivery.c.due_at <= now).order_by(*order)
    if retries_only:
        due = due.where(TRIED_SQL)
    if not only_own:
        rows = _take(connection, due.limit(limit), lease, now)
        join(connection, run_id, [row.id for row in rows if row.run_id != run_id])
    else:
        own = due.where(delivery.c.id.in_(own_ids(run_id))).limit(limit)
        rows = _take(connection, own, lease, now)
        # Taken along, and not taken on: whose lead it is minds it, should that task come after all.
        orphans = due.where(delivery.c.due_at <= now - ORPHANED).limit(limit - len(rows))
        if len(rows) < limit:
            rows = [*rows, *_take(connection, orphans, lease, now)]
    if probing and rows and not (only_own if state.paused else retries_only):
        outage.note_probe(connection, integration, now)
    return sorted(rows, key=_number)


def _take(
    connection: Connection, due: Select[tuple[int]], lease: Lease, now: datetime
) -> Sequence[Row[*tuple[Any, ...]]]:
    # As a common table expression PostgreSQL runs it once; inside IN it may run, and lock, anew.
    locked = due.with_for_update(skip_locked=True).cte("due")
    return connection.execute(
        update(delivery)
        .where(delivery.c.id.in_(select(locked.c.id)))
        .values(status=Status.SENDING, claim=lease.token, due_at=lease.until, updated_at=now)
        .returning(
            delivery.c.id,
            delivery.c.webhook_id,
            delivery.c.lead_id,
            delivery.c.payload,
            delivery.c.attempts,
            delivery.c.resend,
            delivery.c.run_id,
        )
    ).all()


def _number(row: Row[*tuple[Any, ...]]) -> int:
    delivery_id: int = row.id
    return delivery_id


def _idle(connection: Connection, integration: str, now: datetime) -> bool:
    """Tell whether no other probe, and nothing from before the pause, is under way."""
    take_turns(connection, f"zbl probe {integration}")
    under_way = select(delivery.c.id).where(
        delivery.c.integration == integration,
        delivery.c.due_at > now,
        delivery.c.status == Status.SENDING,
    )
    return connection.execute(under_way.limit(1)).first() is None


def read(
    rows: Iterable[Row[*tuple[Any, ...]]], seal: Seal, lease: Lease
) -> tuple[list[Claimed], dict[int, str]]:
    """Return the claimed leads, and of those whose payload cannot be had the reason."""
    claimed: list[Claimed] = []
    unreadable: dict[int, str] = {}
    for delivery_id, webhook_id, lead_id, payload, attempts, resend, _ in rows:
        if payload is None:
            unreadable[delivery_id] = (
                "the payload cannot be read: it was cleared from the delivery log"
            )
            continue
        try:
            body = seal.open(payload, payload_place(webhook_id))
        except UnreadableError as problem:
            unreadable[delivery_id] = f"the payload cannot be read: {problem}"
        else:
            claimed.append(
                Claimed(
                    delivery_id,
                    webhook_id,
                    lead_id,
                    body,
                    attempts + 1,
                    lease.until,
                    lease.token,
                    resend,
                )
            )
    return claimed, unreadable


def release(connection: Connection, claimed: Iterable[Claimed], now: datetime) -> None:
    """Give back what was not sent; what another worker has claimed since stays with that one."""
    rows = [
        {"row": lead.delivery_id, "token": lead.claim, "due_at": now, "updated_at": now}
        for lead in sorted(claimed, key=lambda lead: lead.delivery_id)
    ]
    connection.execute(_RELEASE, rows)


def give_up(connection: Connection, reasons: dict[int, str], token: str, now: datetime) -> None:
    """Settle claimed leads that can never be sent as errors."""
    connection.execute(
        _GIVE_UP,
        [
            {"row": delivery_id, "token": token, "reason": reason, "updated_at": now}
            for delivery_id, reason in sorted(reasons.items())
        ],
    )
