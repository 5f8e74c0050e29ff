"""Writes down what became of attempts, unless the claim they were made under is lost."""

from __future__ import annotations

from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, bindparam, case, func, insert, null, select, true, update

from zbl_provider.log.model import Status
from zbl_provider.log.storage.bulk import as_json, insert_rows, tabled, update_rows
from zbl_provider.log.storage.bulk_postgresql import Given
from zbl_provider.log.storage.cipher import excerpt_place
from zbl_provider.log.storage.tables import attempt, delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Select

    from zbl_provider.log.model import Settlement
    from zbl_provider.log.storage.cipher import Seal

    _Claim = tuple[int, str]  # a lead's number, and the token that fences it

_OF_DELIVERY = ("claim", "status", "due_at", "updated_at")
_OF_ATTEMPT = [column.name for column in attempt.columns if not column.primary_key]


def settle(
    connection: Connection, settlements: Sequence[Settlement], run_id: int, seal: Seal
) -> list[Settlement]:
    """Write the settlements down; return those whose lead another worker has claimed since."""
    held: dict[_Claim, Settlement] = {}
    for settlement in settlements:
        # Of two settlements of one claim the second comes too late, like any other.
        held.setdefault((settlement.claimed.delivery_id, settlement.claimed.claim), settlement)
    close = seal.closer(len(held))
    write = _write_at_once if connection.dialect.name == "postgresql" else _write
    for key in write(connection, held, run_id, close):
        del held[key]
    if len(held) == len(settlements):
        return []
    written = set(map(id, held.values()))
    return [settlement for settlement in settlements if id(settlement) not in written]


def _write_at_once(
    connection: Connection,
    held: dict[_Claim, Settlement],
    run_id: int,
    close: Callable[[bytes, bytes], bytes],
) -> Collection[_Claim]:
    """
    Write them down in one statement; return the claims that were lost.

    Each answer of the server waits for its turn in the event loop: the fewer, the sooner the
    outcomes are safe.
    """
    statement, parameters = _statement()
    rows = [
        {
            "claim": settlement.claimed.claim,
            "status": settlement.status.value,
            "due_at": settlement.due_at,
            "updated_at": _ended_at(settlement),
            **_attempt_row(settlement, run_id, close),
        }
        for settlement in held.values()
    ]
    lost = connection.execute(statement, parameters(rows))
    return [(row.delivery_id, row.claim) for row in lost]


@cache
def _statement() -> tuple[Select[Any], Callable[[Sequence[dict[str, Any]]], dict[str, Any]]]:
    """Return PostgreSQL's statement for all of a group, and what gives its parameters."""
    columns = [
        *(delivery.c[name] for name in _OF_DELIVERY),
        *(attempt.c[name] for name in _OF_ATTEMPT),
    ]
    settlements = Given({column.name: column.type for column in columns})
    rows = settlements.table
    # By number, as everyone locks leads: so two never wait for each other. Each by itself, for a
    # plan made while the table is small would go on reading all of it. What is claimed is sending.
    ordered = select(rows.c.delivery_id, rows.c.claim).order_by(rows.c.delivery_id).subquery()
    lead = (
        select(delivery.c.id, delivery.c.claim)
        .where(delivery.c.id == ordered.c.delivery_id, delivery.c.claim == ordered.c.claim)
        .offset(0)
        .with_for_update()
        .lateral("lead")
    )
    locked = select(lead.c.id, lead.c.claim).join_from(ordered, lead, true()).cte("locked")
    # A claim that was lost may be in the same group as the one that holds.
    holds = (rows.c.delivery_id == locked.c.id) & (rows.c.claim == locked.c.claim)
    delivered = rows.c.status == Status.DELIVERED
    changed = (
        update(delivery)
        .where(delivery.c.id == locked.c.id, holds)
        .values(
            status=rows.c.status,
            reason=case((delivered, null()), else_=rows.c.detail),
            attempts=rows.c.number,
            due_at=rows.c.due_at,
            claim=None,
            last_status=rows.c.status_code,
            last_kind=rows.c.kind,
            updated_at=rows.c.updated_at,
            delivered_at=case((delivered, rows.c.updated_at)),
        )
        .cte("changed")
    )
    made = select(*(rows.c[name] for name in _OF_ATTEMPT)).join_from(rows, locked, holds)
    noted = insert(attempt).from_select(_OF_ATTEMPT, made).cte("noted")
    lost = select(rows.c.delivery_id, rows.c.claim).where(~select(locked).where(holds).exists())
    return lost.add_cte(changed, noted), settlements.parameters


def _write(
    connection: Connection,
    held: dict[_Claim, Settlement],
    run_id: int,
    close: Callable[[bytes, bytes], bytes],
) -> Collection[_Claim]:
    """Write them down; return the claims that were lost."""
    lost = _lost(connection, held)
    kept = [settlement for key, settlement in held.items() if key not in lost]
    if kept:
        update_rows(connection, delivery, [_delivery_row(settlement) for settlement in kept])
        attempts = [_attempt_row(settlement, run_id, close) for settlement in kept]
        insert_rows(connection, attempt, attempts)
    return lost


def _lost(connection: Connection, held: Collection[_Claim]) -> Collection[_Claim]:
    claims = {"claims": as_json(held)}
    count, holding = _holds(connection.dialect.name)
    # Nearly all claims hold: a row for each would cost more than to count them.
    if connection.execute(count, claims).scalar_one() == len(held):
        return ()
    return set(held) - {(row.id, row.claim) for row in connection.execute(holding, claims)}


@cache
def _holds(dialect: str) -> tuple[Select[int], Select[Any]]:
    """Return the statements that count the claims that hold, and name them."""
    text = bindparam("claims", type_=Text)
    claims = tabled(dialect, (delivery.c.id, delivery.c.claim), text)
    holding = (
        select(delivery.c.id, delivery.c.claim)
        .join(claims, (claims.c.id == delivery.c.id) & (claims.c.claim == delivery.c.claim))
        .where(delivery.c.status == Status.SENDING)
    )
    return select(func.count()).select_from(holding.subquery()), holding


def _delivery_row(settlement: Settlement) -> dict[str, Any]:
    outcome = settlement.outcome
    status = settlement.status
    ended_at = _ended_at(settlement)
    return {
        "id": settlement.claimed.delivery_id,
        "status": status.value,
        "reason": None if status is Status.DELIVERED else outcome.detail,
        "attempts": settlement.claimed.attempt,
        "due_at": settlement.due_at,
        "claim": None,
        "last_status": outcome.status,
        "last_kind": outcome.kind,
        "updated_at": ended_at,
        "delivered_at": ended_at if status is Status.DELIVERED else None,
    }


def _attempt_row(
    settlement: Settlement, run_id: int, close: Callable[[bytes, bytes], bytes]
) -> dict[str, Any]:
    outcome = settlement.outcome
    return {
        "delivery_id": settlement.claimed.delivery_id,
        "resend": settlement.claimed.resend,
        "number": settlement.claimed.attempt,
        "run_id": run_id,
        "started_at": settlement.started_at,
        "duration_ms": round(outcome.seconds * 1000),
        "status_code": outcome.status,
        "kind": outcome.kind,
        "detail": outcome.detail,
        "excerpt": _excerpt(settlement, close),
    }


def _ended_at(settlement: Settlement) -> datetime:
    return settlement.started_at + timedelta(seconds=settlement.outcome.seconds)


def _excerpt(settlement: Settlement, close: Callable[[bytes, bytes], bytes]) -> bytes | None:
    excerpt = settlement.outcome.excerpt
    if not excerpt:
        return None
    claimed = settlement.claimed
    place = excerpt_place(claimed.webhook_id, claimed.resend, claimed.attempt)
    return close(excerpt.encode("utf-8", "replace"), place)
