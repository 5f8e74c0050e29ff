"""What the log knows of the integrations themselves: who holds one, and what paused it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import false, or_, select, true, update

from zbl_provider.log.model import Integration
from zbl_provider.log.storage.bulk import insert_missing
from zbl_provider.log.storage.tables import integration

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import ColumnElement, Connection

_KNOWN = (
    integration.c.integration,
    integration.c.held_at,
    integration.c.held_by,
    integration.c.paused_at,
    integration.c.paused_status,
    integration.c.failures,
    integration.c.failing_since,
    integration.c.down_at,
    integration.c.down_reason,
    integration.c.probed_at,
    integration.c.resumed,
)
UP: dict[str, Any] = {
    "failures": 0,
    "failing_since": None,
    "down_at": None,
    "down_reason": None,
    "probed_at": None,
}
"""What the log knows of a destination that is not down."""
_SENDING: dict[str, Any] = {"paused_at": None, "paused_status": None, **UP}
TROUBLED = or_(
    integration.c.paused_at.is_not(None), integration.c.down_at.is_not(None), integration.c.resumed
)
"""People were told that it is paused or down, and not that it is back."""


def every(connection: Connection) -> list[Integration]:
    """Return all that the log has seen or that somebody has held, by name."""
    rows = connection.execute(select(*_KNOWN).order_by(integration.c.integration))
    return [Integration(*row) for row in rows]


def find(connection: Connection, name: str) -> Integration:
    """Return one; of a name that the log does not know nothing is held or paused."""
    row = connection.execute(select(*_KNOWN).where(integration.c.integration == name)).one_or_none()
    return Integration(name) if row is None else Integration(*row)


def add(connection: Connection, name: str) -> None:
    """Write an integration down, unless it is known."""
    insert_missing(connection, integration, [{"integration": name}])


def hold(connection: Connection, name: str, by: str, now: datetime) -> None:
    """Hold it; who held it first stays named."""
    add(connection, name)
    write(connection, name, {"held_at": now, "held_by": by}, where=integration.c.held_at.is_(None))


def resume(connection: Connection, name: str) -> None:
    """End whatever keeps its leads back; that it is back only a delivery can tell."""
    write(connection, name, {"held_at": None, "held_by": None, "resumed": TROUBLED, **_SENDING})


def back(connection: Connection, name: str) -> bool:
    """Note that it takes leads; a person's hold stays. Tell whether that is news to people."""
    return write(connection, name, {"resumed": false(), **_SENDING}, where=TROUBLED)


def pause(connection: Connection, name: str, status: int, now: datetime) -> bool:
    """Pause it; tell whether it was not paused before."""
    add(connection, name)
    running = integration.c.paused_at.is_(None)
    paused = {
        "paused_at": now,
        "paused_status": status,
        "probed_at": None,
        "resumed": false(),
    }
    return write(connection, name, paused, where=running)


def write(
    connection: Connection,
    name: str,
    values: Mapping[str, object],
    *,
    where: ColumnElement[bool] | None = None,
) -> bool:
    """Change what the log knows of one, if a condition holds; tell whether it did."""
    condition = true() if where is None else where
    changed = update(integration).where(integration.c.integration == name, condition).values(values)
    return bool(connection.execute(changed).rowcount)
