"""Writes down what became of attempts, unless the claim they were made under is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import func, null, select, union_all

from zbl_provider.log.model import Status
from zbl_provider.log.storage.bulk import given, insert_rows, update_rows
from zbl_provider.log.storage.cipher import excerpt_place
from zbl_provider.log.storage.tables import attempt, delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from zbl_provider.log.model import Settlement
    from zbl_provider.log.storage.cipher import Seal


class _Past(NamedTuple):
    """What was done for a lead before: attempts since its last resend, and resends."""

    attempts: int
    resend: int


_NO_PAST = _Past(0, 0)


def settle(
    connection: Connection, settlements: Sequence[Settlement], run_id: int, seal: Seal
) -> list[Settlement]:
    """Write the settlements down; return those whose lead another worker has claimed since."""
    held = _lock(connection, settlements)
    fenced: list[Settlement] = []
    rows: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    close = seal.closer(len(settlements))
    for settlement in settlements:
        # Popped: of two settlements of one claim the second comes too late, like any other.
        past = held.pop((settlement.claimed.delivery_id, settlement.claimed.claim), None)
        if past is None:
            fenced.append(settlement)
            continue
        rows.append(_delivery_row(settlement, past.attempts + 1))
        attempts.append(_attempt_row(settlement, past, run_id, close))
    if rows:
        update_rows(connection, delivery, rows)
        insert_rows(connection, attempt, attempts)
    return fenced


def _lock(
    connection: Connection, settlements: Sequence[Settlement]
) -> dict[tuple[int, str], _Past]:
    """Lock the leads whose claims still hold; return the past of each, by number and claim."""
    held = {
        (settlement.claimed.delivery_id, settlement.claimed.claim): _NO_PAST
        for settlement in settlements
    }
    claims = given(connection, (delivery.c.id, delivery.c.claim), held)
    # By number, as everyone locks leads: so two never wait for each other.
    locked = (
        select(delivery.c.id, delivery.c.claim, delivery.c.attempts, delivery.c.resend)
        .join(claims, (claims.c.id == delivery.c.id) & (claims.c.claim == delivery.c.claim))
        .where(delivery.c.status == Status.SENDING)
        .order_by(delivery.c.id)
        .with_for_update(of=delivery)
        .cte("locked")
    )
    # Nearly all claims hold, and nearly all leads have no past: a row for each would cost more than
    # to find it.
    tried = select(locked).where((locked.c.attempts > 0) | (locked.c.resend > 0))
    counted = select(func.count(), null(), null(), null()).select_from(locked)
    holding = 0
    for delivery_id, claim, attempts, resend in connection.execute(union_all(tried, counted)):
        if claim is None:
            holding = delivery_id  # the count stands in the place of the number
        else:
            held[delivery_id, claim] = _Past(attempts, resend)
    if holding < len(held):
        rows = connection.execute(select(locked.c.id, locked.c.claim))
        holders = {(row.id, row.claim) for row in rows}
        held = {key: past for key, past in held.items() if key in holders}
    return held


def _delivery_row(settlement: Settlement, attempts: int) -> dict[str, Any]:
    outcome = settlement.outcome
    status = settlement.status
    ended_at = settlement.started_at + timedelta(seconds=outcome.seconds)
    return {
        "id": settlement.claimed.delivery_id,
        "status": status.value,
        "reason": None if status is Status.DELIVERED else outcome.detail,
        "attempts": attempts,
        "due_at": settlement.due_at,
        "claim": None,
        "last_status": outcome.status,
        "last_kind": outcome.kind,
        "updated_at": ended_at,
        "delivered_at": ended_at if status is Status.DELIVERED else None,
    }


def _attempt_row(
    settlement: Settlement,
    past: _Past,
    run_id: int,
    close: Callable[[bytes, bytes], bytes],
) -> dict[str, Any]:
    outcome = settlement.outcome
    attempt_number = past.attempts + 1
    place = excerpt_place(settlement.claimed.webhook_id, past.resend, attempt_number)
    return {
        "delivery_id": settlement.claimed.delivery_id,
        "resend": past.resend,
        "number": attempt_number,
        "run_id": run_id,
        "started_at": settlement.started_at,
        "duration_ms": round(outcome.seconds * 1000),
        "status_code": outcome.status,
        "kind": outcome.kind,
        "detail": outcome.detail,
        "excerpt": close(outcome.excerpt.encode("utf-8", "replace"), place)
        if outcome.excerpt
        else None,
    }
