"""
What the log knows of a destination that is down (Contract 8.7).

While it is down no first attempt is made. The leads that were tried go on by their own schedules;
one that is delivered ends it. Once none of them is left, a run that begins tries one lead more, and
the next run after a pause another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, false, func, or_, select

from zbl_provider.log.model import PROBE_PAUSE, Outage, Status
from zbl_provider.log.outbox import holds
from zbl_provider.log.storage.tables import TRIED_SQL, delivery, integration

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import Connection

    from zbl_provider.log.model import Integration


def note_failures(
    connection: Connection, name: str, failures: int, since: datetime | None, *, goes_on: bool
) -> Integration:
    """Remember how many leads in a row have failed, for all tasks that send."""
    counted: dict[str, Any] = {"failures": failures, "failing_since": since}
    if goes_on:  # added in the database: others count on at the same time
        counted = {
            "failures": integration.c.failures + failures,
            "failing_since": func.coalesce(integration.c.failing_since, since),
        }
    holds.write(connection, name, counted, where=integration.c.down_at.is_(None))
    return holds.find(connection, name)


def begin(connection: Connection, name: str, since: datetime, reason: str, now: datetime) -> bool:
    """
    Note that a destination is down; tell whether it was this call that did.

    Another task may have delivered a lead since the row of failures began: then it is not down.
    """
    holds.add(connection, name)
    delivered = select(delivery.c.id).where(
        delivery.c.integration == name,
        delivery.c.delivered_at > since,
        delivery.c.payload.is_not(None),  # which the index of what is retained wants
    )
    was_up = integration.c.down_at.is_(None) & ~delivered.exists()
    down = {"down_at": now, "down_reason": reason, "failing_since": since, "resumed": false()}
    has_begun = holds.write(connection, name, holds.UP | down, where=was_up)
    if not has_begun:
        # The row has ended with that delivery, though the task that made it had not said so.
        ended = {"failures": 0, "failing_since": None}
        holds.write(connection, name, ended, where=integration.c.down_at.is_(None))
    return has_begun


def lift(connection: Connection, name: str) -> None:
    """Have all leads tried again, though none was delivered."""
    was_down = integration.c.down_at.is_not(None)
    holds.write(connection, name, holds.UP | {"resumed": True}, where=was_down)


def may_probe(connection: Connection, name: str, now: datetime) -> bool:
    """Tell whether a lead may be taken as a probe: the one before may be too short ago."""
    rested = or_(integration.c.probed_at.is_(None), integration.c.probed_at <= now - PROBE_PAUSE)
    return bool(connection.scalar(select(rested).where(integration.c.integration == name)))


def note_probe(connection: Connection, name: str, now: datetime | None) -> None:
    """Remember when a lead was taken to try the destination with; None allows the next at once."""
    is_troubled = integration.c.down_at.is_not(None) | integration.c.paused_at.is_not(None)
    holds.write(connection, name, {"probed_at": now}, where=is_troubled)


def next_tried(connection: Connection, name: str, now: datetime) -> datetime | None:
    """Return when the first lead that was tried, or is being tried, needs somebody, if any does."""
    # Two questions, each with an index of its own: an OR would read all that is due.
    of_it = select(func.min(delivery.c.due_at)).where(delivery.c.integration == name)
    tried = of_it.where(delivery.c.due_at.is_not(None), TRIED_SQL)
    under_way = of_it.where(delivery.c.due_at > now, delivery.c.status == Status.SENDING.value)
    moments = [connection.scalar(tried), connection.scalar(under_way)]
    return min((moment for moment in moments if moment is not None), default=None)


def any_tried(connection: Connection, name: str) -> bool:
    """Tell whether a lead that was tried still has attempts to come."""
    tried = select(delivery.c.id).where(
        delivery.c.integration == name, delivery.c.due_at.is_not(None), TRIED_SQL
    )
    return connection.execute(tried.limit(1)).first() is not None


def untried(now: datetime) -> ColumnElement[bool]:
    """
    Tell which leads wait for their first attempt.

    A worker that died as it made one leaves no attempt behind, but the claim: once its lease is
    over the lead waits as the others do.
    """
    lapsed = (delivery.c.status == Status.SENDING.value) & (delivery.c.due_at <= now)
    return (delivery.c.status == Status.PENDING.value) | (lapsed & (delivery.c.attempts == 0))


def find(connection: Connection, name: str, now: datetime) -> Outage | None:
    """Return how a destination is down; None when it is not."""
    state = holds.find(connection, name)
    if not state.down:
        return None
    of_it = (delivery.c.integration == name, delivery.c.due_at.is_not(None))
    waiting = select(func.count()).where(*of_it, untried(now))
    return Outage(
        since=state.failing_since or state.down_at or now,
        reason=state.down_reason or "",
        waiting=connection.scalar(waiting) or 0,
        next_at=next_tried(connection, name, now),
        probe_at=state.probe_at,
    )
