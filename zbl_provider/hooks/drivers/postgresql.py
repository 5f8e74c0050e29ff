"""What both clients of PostgreSQL share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zbl_provider.hooks.drivers.base import Driver

# Types of PostgreSQL that hold values which Python's own types can't (infinity, BC, 24:00).
NARROW = ("date", "time", "timetz", "timestamp", "timestamptz", "interval", "json", "jsonb")


class PostgreSql(Driver):
    """
    What both clients of PostgreSQL share.

    A database in SQL_ASCII has no encoding: it returns whatever bytes were stored. They are read as
    LATIN1, in which each byte is a character, and then as UTF-8; a row that is not, is invalid.
    """

    # LOCAL ends with the transaction: behind a pooler the next client gets the session as it was.
    session = (
        "SET LOCAL TIME ZONE 'UTC'",
        "SET LOCAL datestyle TO 'ISO'",
        "SET LOCAL intervalstyle TO 'postgres'",
    )
    best_effort = False
    keeps = True

    def cursor(self, connection: Any) -> Any:
        """Ask for a server-side cursor: the ordinary one fetches the whole result."""
        return connection.cursor(name="zbl_leads")

    def encoded(self, connection: Any, value: Any) -> Any:
        """Send the bytes of UTF-8 unchanged where the database has no encoding."""
        return through_latin1(value) if self.is_ascii(connection) else value

    def columns(self, cursor: Any) -> list[str]:
        """Return the names of the columns, which have no encoding either."""
        names = super().columns(cursor)
        return [from_latin1(name) for name in names] if self.is_ascii(cursor.connection) else names

    def is_ascii(self, connection: Any) -> bool:
        """Tell whether the database is in SQL_ASCII."""
        raise NotImplementedError


def from_latin1(value: Any) -> Any:
    """Read text as UTF-8 of which each byte came as a character."""
    if isinstance(value, list):
        return [from_latin1(item) for item in value]
    if not isinstance(value, str):
        return value
    return type(value)(value.encode("latin-1").decode("utf-8", "surrogateescape"))


def through_latin1(value: Any) -> Any:
    """Turn each byte of a text in UTF-8 into a character."""
    if isinstance(value, str):
        return value.encode().decode("latin-1")
    if isinstance(value, Mapping):
        return {through_latin1(name): through_latin1(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([through_latin1(item) for item in value])
    return value
