"""
Resends of chosen leads (Contract 8.4): marked in the log first, and sent by the clear that follows.

What is marked is pending: if nobody clears the task, the integration's next run sends it (4.6). The
run is marked, too, so that its clear sends just the chosen leads rather than all in error. That
mark must not outlive its clear, or the next one, meant for all in error, would send none of them.
So a caller that cannot clear takes it back (``forget_choice``). If even that does not happen, as
when a browser is closed between the two steps, the mark counts only while one of the run's leads is
open, or was settled within the hour: another run may send the chosen ones before the clear comes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, exists, false, func, select, true, update

from zbl_provider.log.browse.model import Hastened, Query, Resent
from zbl_provider.log.browse.selection import conditions, runs_of
from zbl_provider.log.model import OPEN, WAITING, RunKey, Status
from zbl_provider.log.outbox.runs import hasten, leave_to_any, open_again, put_first
from zbl_provider.log.storage.bulk import among, given
from zbl_provider.log.storage.tables import (
    RUN_KEY,
    TROUBLED_SQL,
    attempt,
    delivery,
    run,
    run_delivery,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

_SENDABLE = delivery.c.payload.is_not(None)


def resend(
    connection: Connection,
    chosen: Query | Collection[int],
    now: datetime,
    limit: int,
    dags: Collection[str] | None,
) -> Resent:
    """Open the chosen leads again, and mark the runs whose clear is to send them."""
    meant = _meant(connection, chosen)
    numbers = connection.scalars(
        select(delivery.c.id).where(*meant, _SENDABLE).order_by(delivery.c.id).limit(limit)
    ).all()
    unsendable = connection.scalar(select(func.count()).where(*meant, ~_SENDABLE))
    # Runs before leads, as a clear locks them; the leads are looked at again behind the locks.
    owners = _owners(connection, numbers, dags)
    _lock(connection, set(owners.values()))
    still = [delivery.c.id.in_(among(connection, numbers)), _SENDABLE, *meant]
    opened = open_again(connection, still, now) if numbers else ()
    return Resent(
        len(opened),
        unsendable or 0,
        _mark(connection, {owners[delivery_id] for delivery_id in opened}),
        _integrations(connection, opened),
    )


def resendable(connection: Connection, query: Query) -> int:
    """Return how many leads ``resend`` would open again for a query."""
    meant = _meant(connection, query)
    return connection.scalar(select(func.count()).where(*meant, _SENDABLE)) or 0


def send_now(
    connection: Connection,
    chosen: Query | Collection[int],
    now: datetime,
    limit: int,
    after: int,
    dags: Collection[str] | None,
) -> Hastened:
    """
    Have leads that wait be due now, and mark the runs whose clear is to send them (3.5).

    As many as one step takes go out before what was due earlier; more than that are most of it.
    """
    meant = [*_waiting(connection, chosen), delivery.c.id > after]
    numbers = connection.scalars(
        select(delivery.c.id).where(*meant).order_by(delivery.c.id).limit(limit)
    ).all()
    owners = _owners(connection, numbers, dags)
    _lock(connection, set(owners.values()))
    more = numbers[-1] if len(numbers) == limit else None
    if numbers and (more or after):
        hasten(connection, [delivery.c.id.in_(among(connection, numbers))], now)
    elif numbers:
        put_first(connection, numbers, now)
    runs = _mark(connection, set(owners.values()))
    return Hastened(len(numbers), runs, more, _integrations(connection, numbers))


def count_waiting(connection: Connection, query: Query) -> int:
    """Return how many leads ``send_now`` would have due now for a query."""
    return connection.scalar(select(func.count()).where(*_waiting(connection, query))) or 0


def _waiting(connection: Connection, chosen: Query | Collection[int]) -> list[ColumnElement[bool]]:
    # The status alone would be looked for in all rows; what is due has an index.
    waiting = [delivery.c.status.in_(sorted(WAITING)), delivery.c.due_at.is_not(None)]
    if isinstance(chosen, Query):
        return [*conditions(connection, chosen), *waiting]
    return [delivery.c.id.in_(among(connection, chosen)), *waiting] if chosen else [false()]


def forget_choice(connection: Connection, keys: Collection[RunKey], now: datetime) -> None:
    """
    Have the next clear of these task instances be an ordinary one.

    Nobody clears them now, so what they have due is taken along by any task of its integration, as
    if their own had not come for ten minutes (4.11).
    """
    # What task instances are known by: a number for each integration that they had.
    meant = given(connection, RUN_KEY, [list(key.as_dict().values()) for key in keys])
    same = and_(*(column == meant.c[column.name] for column in RUN_KEY))
    chosen = set(connection.scalars(select(run.c.id).join(meant, same)))
    if chosen:
        _lock(connection, chosen)
        of_them = run.c.id.in_(among(connection, chosen))
        connection.execute(update(run).where(of_them).values(chosen=False))
        leave_to_any(connection, chosen, now)


def _meant(connection: Connection, chosen: Query | Collection[int]) -> list[ColumnElement[bool]]:
    if isinstance(chosen, Query):
        # Of many, those that failed: who wants delivered ones sent again says which.
        in_error = delivery.c.status == Status.ERROR.value
        return [*conditions(connection, chosen), in_error, TROUBLED_SQL]
    settled = delivery.c.status.in_(sorted(set(Status) - OPEN))
    return [delivery.c.id.in_(among(connection, chosen)), settled] if chosen else [false()]


def _owners(
    connection: Connection, numbers: Sequence[int], dags: Collection[str] | None
) -> dict[int, int]:
    """
    Return the run of each lead that made its last attempt: the one that it failed.

    A run that only took it along does not own it (4.11), and whoever may not clear that run's Dag
    does not mark it, nor could take the mark back: then it is the run that enrolled the lead.
    """
    if not numbers:
        return {}
    clearable = true() if dags is None else attempt.c.run_id.in_(runs_of(dags))
    last = (
        select(attempt.c.run_id)
        .where(
            attempt.c.delivery_id == delivery.c.id,
            clearable,
            (attempt.c.run_id == delivery.c.run_id)
            | exists().where(
                run_delivery.c.run_id == attempt.c.run_id,
                run_delivery.c.delivery_id == delivery.c.id,
            ),
        )
        .order_by(attempt.c.resend.desc(), attempt.c.number.desc())
        .limit(1)
        .scalar_subquery()
    )
    owners = select(delivery.c.id, func.coalesce(last, delivery.c.run_id).label("owner")).where(
        delivery.c.id.in_(among(connection, numbers))
    )
    return {row.id: row.owner for row in connection.execute(owners)}


def _integrations(connection: Connection, numbers: Sequence[int]) -> frozenset[str]:
    if not numbers:
        return frozenset()
    of_them = delivery.c.id.in_(among(connection, numbers))
    return frozenset(connection.scalars(select(delivery.c.integration).where(of_them).distinct()))


def _lock(connection: Connection, run_ids: set[int]) -> None:
    # By number, as everyone who locks more than one run.
    if run_ids:
        owned = select(run.c.id).where(run.c.id.in_(among(connection, run_ids)))
        connection.execute(owned.order_by(run.c.id).with_for_update()).all()


def _mark(connection: Connection, run_ids: set[int]) -> tuple[RunKey, ...]:
    if not run_ids:
        return ()
    marked = run.c.id.in_(among(connection, run_ids))
    connection.execute(update(run).where(marked).values(chosen=True))
    keys = connection.execute(select(*RUN_KEY).where(marked).distinct())
    return tuple(RunKey(*key) for key in keys)
