"""
Many rows in one statement for SQLite, whose driver takes them by itself.

SQLAlchemy's own way to it would cost three times the driver's.
"""

from __future__ import annotations

from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from sqlalchemy import bindparam, insert, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.dialects.sqlite.base import SQLiteCompiler

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Insert, Table, Update

_ID = "given"  # SQLAlchemy keeps the columns' own names for itself
_SQLITE = sqlite.dialect(paramstyle="qmark")


def insert_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns."""
    _execute_each(connection, table, _insert_each(table, tuple(rows[0])), rows)


def update_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Write new values over the rows that have these ids."""
    _execute_each(connection, table, _update_each(table, tuple(rows[0])), rows)


class _Each(NamedTuple):
    """A statement that the driver runs for each of many rows."""

    sql: str
    names: tuple[str, ...]  # in the order of its question marks

    @classmethod
    def compile(cls, statement: Insert | Update, values: Sequence[str]) -> Self:
        compiled = SQLiteCompiler(_SQLITE, statement, column_keys=values)
        names = compiled.positiontup or ()
        return cls(str(compiled), tuple("id" if name == _ID else name for name in names))


@cache
def _insert_each(table: Table, names: tuple[str, ...]) -> _Each:
    return _Each.compile(insert(table), names)


@cache
def _update_each(table: Table, names: tuple[str, ...]) -> _Each:
    each = update(table).where(table.c.id == bindparam(_ID))
    return _Each.compile(each, [name for name in names if name != "id"])


def _execute_each(
    connection: Connection, table: Table, each: _Each, rows: Sequence[dict[str, Any]]
) -> None:
    """Give the rows' values the form in which SQLite stores them, a column at a time."""
    columns = zip(*map(itemgetter(*each.names), rows), strict=True)
    forms = [_stored(table, name) for name in each.names]
    bound = [
        map(form, values) if form else values for form, values in zip(forms, columns, strict=True)
    ]
    connection.exec_driver_sql(each.sql, list(zip(*bound, strict=True)))


@cache
def _stored(table: Table, name: str) -> Callable[[Any], Any] | None:
    return table.c[name].type.dialect_impl(_SQLITE).bind_processor(_SQLITE)
