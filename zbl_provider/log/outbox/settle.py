"""Writes down what became of attempts, unless the claim they were made under is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from zbl_provider.log.model import Status
from zbl_provider.log.storage.bulk import among, insert_rows, update_rows
from zbl_provider.log.storage.cipher import excerpt_place
from zbl_provider.log.storage.tables import attempt, delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Row

    from zbl_provider.log.model import Settlement
    from zbl_provider.log.storage.cipher import Seal


def settle(
    connection: Connection, settlements: Sequence[Settlement], run_id: int, seal: Seal
) -> list[Settlement]:
    """Write the settlements down; return those whose lead another worker has claimed since."""
    held = _lock(connection, [settlement.claimed.delivery_id for settlement in settlements])
    fenced: list[Settlement] = []
    rows: list[dict[str, Any]] = []
    attempts: list[dict[str, Any]] = []
    close = seal.closer(len(settlements))
    for settlement in settlements:
        # Popped: of two settlements of one claim the second comes too late, like any other.
        row = held.get(settlement.claimed.delivery_id)
        if row is None or row.claim != settlement.claimed.claim:
            fenced.append(settlement)
            continue
        del held[settlement.claimed.delivery_id]
        rows.append(_delivery_row(settlement, row.attempts + 1))
        attempts.append(_attempt_row(settlement, row, run_id, close))
    if rows:
        update_rows(connection, delivery, rows)
        insert_rows(connection, attempt, attempts)
    return fenced


def _lock(connection: Connection, numbers: list[int]) -> dict[int, Row[*tuple[Any, ...]]]:
    # By number, as everyone locks leads: so two never wait for each other.
    rows = connection.execute(
        select(delivery.c.id, delivery.c.claim, delivery.c.attempts, delivery.c.resend)
        .where(delivery.c.id.in_(among(connection, numbers)), delivery.c.status == Status.SENDING)
        .order_by(delivery.c.id)
        .with_for_update()
    )
    return {row.id: row for row in rows}


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
    row: Row[*tuple[Any, ...]],
    run_id: int,
    close: Callable[[bytes, bytes], bytes],
) -> dict[str, Any]:
    outcome = settlement.outcome
    attempt_number = row.attempts + 1
    place = excerpt_place(settlement.claimed.webhook_id, row.resend, attempt_number)
    return {
        "delivery_id": row.id,
        "resend": row.resend,
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
