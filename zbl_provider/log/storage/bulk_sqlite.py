"""
Many rows in one statement for SQLite: as one JSON text, and their bytes end to end beside it.

The driver could run a statement for each row by itself, which takes as long. But between two of
them it takes and lets go of Python's lock, and whoever sends meanwhile would wait each time; one
statement runs beside the senders.
"""

from __future__ import annotations

from functools import cache
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import LargeBinary
from sqlalchemy.dialects import sqlite

from zbl_provider.log.storage.blob import Joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from sqlalchemy import Connection, Table

_SQLITE = sqlite.dialect()


def insert_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns; at least two."""
    names = tuple(rows[0])
    connection.exec_driver_sql(_insert(table, names), _parameters(table, names, rows))


def update_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Write new values over the rows that have these ids."""
    names = tuple(rows[0])
    connection.exec_driver_sql(_update(table, names), _parameters(table, names, rows))


# In the texts are names of our own tables and columns alone, and none needs quotes (Contract 7.4).


@cache
def _insert(table: Table, names: tuple[str, ...]) -> str:
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) "  # noqa: S608
        f"SELECT {', '.join(_taken_apart(table, names))} FROM json_each(?1)"
    )


@cache
def _update(table: Table, names: tuple[str, ...]) -> str:
    values = zip(names, _taken_apart(table, names), strict=True)
    given = ", ".join(f"{value} AS {name}" for name, value in values)
    changes = ", ".join(f"{name} = given.{name}" for name in names if name != "id")
    return (
        f"UPDATE {table.name} SET {changes} "  # noqa: S608
        f"FROM (SELECT {given} FROM json_each(?1)) AS given WHERE {table.name}.id = given.id"
    )


def _taken_apart(table: Table, names: tuple[str, ...]) -> Iterable[str]:
    """Give the SQL of each value of a row; of bytes there are two, their start and their length."""
    place = 0
    for name in names:
        if _is_binary(table, name):
            yield f"substr(?2, {_cell(place)}, {_cell(place + 1)})"
            place += 2
        else:
            yield _cell(place)
            place += 1


def _cell(place: int) -> str:
    return f"json_extract(value, '$[{place}]')"


def _parameters(
    table: Table, names: tuple[str, ...], rows: Sequence[dict[str, Any]]
) -> tuple[Any, ...]:
    """Give the values the form in which SQLite stores them, a column at a time."""
    joined = Joined()
    columns: list[Iterable[Any]] = []
    for name, values in zip(names, zip(*map(itemgetter(*names), rows), strict=True), strict=True):
        if _is_binary(table, name):
            columns += zip(*map(joined.add, values), strict=True)
        elif form := _stored(table, name):
            columns.append(map(form, values))
        else:
            columns.append(values)
    text = orjson.dumps(list(zip(*columns, strict=True))).decode()
    binary = any(_is_binary(table, name) for name in names)
    return (text, bytes(joined.bytes)) if binary else (text,)


@cache
def _is_binary(table: Table, name: str) -> bool:
    return isinstance(table.c[name].type, LargeBinary)


@cache
def _stored(table: Table, name: str) -> Callable[[Any], Any] | None:
    return table.c[name].type.dialect_impl(_SQLITE).bind_processor(_SQLITE)
