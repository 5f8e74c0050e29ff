"""A driver as PEP 249 describes it; those of the databases differ from it in a few points."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, TypeAlias

logger = logging.getLogger(__name__)

Row: TypeAlias = Sequence[object]


class Driver:
    """
    A driver that does what PEP 249 says, and nothing else.

    Connections, cursors and values have no types here: PEP 249 names none, and the drivers are
    optional.

    :ivar session: statements that each new connection runs first
    :ivar best_effort: if a statement of ``session`` fails, it is logged, and reading goes on
    :ivar keeps: a connection may stay open between two queries: it locks nobody out, and after a
        rollback the next query sees what was committed meanwhile
    """

    session: tuple[str, ...] = ()
    best_effort: bool = True
    keeps: bool = False

    def open_session(self, connection: Any, *, is_new: bool = True) -> None:
        """Set a connection to UTC, and have a new one read values leniently."""
        for statement in self.session:
            try:
                with closing(connection.cursor()) as cursor:
                    cursor.execute(statement)
            except Exception as problem:
                if not self.best_effort:
                    raise
                logger.warning("The leads' database refused %r (%s).", statement, type(problem))
        if is_new:
            self.prepare(connection)

    def prepare(self, connection: Any) -> None:
        """Set how the values of a connection are read."""

    def cursor(self, connection: Any) -> Any:
        """Open a cursor that does not hold the whole result in memory."""
        return connection.cursor()

    def abandon(self, connection: Any) -> None:
        """Give up a result that was not read to its end, before the connection closes."""

    def encoded(self, connection: Any, value: Any) -> Any:  # noqa: ARG002  other databases need it
        """Return a statement, or its parameters, in the form that the database's encoding needs."""
        return value

    def columns(self, cursor: Any) -> list[str]:
        """Return the names of a cursor's columns; it must have some."""
        return [column[0] for column in cursor.description]

    def values(self, cursor: Any) -> Callable[[Row], Row]:  # noqa: ARG002  other databases need it
        """Return a function that reads the values of a row; the cursor must have its columns."""
        return lambda row: row


class InUtc(Driver):
    """
    A driver that differs only in how its session is set to UTC.

    :param statement: sets it
    """

    def __init__(self, statement: str) -> None:
        self.session = (statement,)
