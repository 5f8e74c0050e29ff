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
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Row, Table

_SQLITE = sqlite.dialect()


def insert_rows(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], returning: tuple[str, ...]
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Insert rows that all have the same columns, at least two; return some columns of them."""
    batch = _batch(table, tuple(rows[0]))
    statement = batch.insert
    if returning:
        statement = f"{statement} RETURNING {', '.join(returning)}"
    result = connection.exec_driver_sql(statement, batch.parameters(rows))
    return result.all() if returning else ()


def update_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Write new values over the rows that have these ids."""
    batch = _batch(table, tuple(rows[0]))
    connection.exec_driver_sql(batch.update, batch.parameters(rows))


class Batch:
    """
    Rows of one table that have the same columns: two statements for however many there are.

    In their texts are names of our own tables and columns alone, and none needs quotes (Contract
    7.4).

    :param table: the table
    :param names: the columns' names, in the order of each row's keys
    :ivar insert: the statement that inserts them
    :ivar update: the statement that writes them over the rows of the same ids
    """

    def __init__(self, table: Table, names: Sequence[str]) -> None:
        types = [table.c[name].type for name in names]
        self._names = names
        self._binary = [isinstance(kind, LargeBinary) for kind in types]
        self._forms = [
            kind.dialect_impl(_SQLITE).bind_processor(_SQLITE)  # as SQLite stores them
            for kind in types
        ]
        values: list[str] = []
        place = 0
        for binary in self._binary:
            cells = [f"json_extract(value, '$[{place + n}]')" for n in range(1 + binary)]
            # Of bytes there are two cells: where they begin, and how many they are.
            values.append(f"substr(?2, {', '.join(cells)})" if binary else cells[0])
            place += len(cells)
        given = ", ".join(f"{value} AS {name}" for name, value in zip(names, values, strict=True))
        changes = ", ".join(f"{name} = given.{name}" for name in names if name != "id")
        self.insert = (
            f"INSERT INTO {table.name} ({', '.join(names)}) "  # noqa: S608  names of tables.py
            f"SELECT {', '.join(values)} FROM json_each(?1)"
        )
        self.update = (
            f"UPDATE {table.name} SET {changes} "  # noqa: S608  names of tables.py
            f"FROM (SELECT {given} FROM json_each(?1)) AS given WHERE {table.name}.id = given.id"
        )

    def parameters(self, rows: Sequence[dict[str, Any]]) -> tuple[Any, ...]:
        """Return what either statement binds for some rows; they are formed a column at a time."""
        joined = Joined()
        columns: list[Iterable[Any]] = []
        by_column = zip(*map(itemgetter(*self._names), rows), strict=True)
        for values, binary, form in zip(by_column, self._binary, self._forms, strict=True):
            if binary:
                columns += zip(*map(joined.add, values), strict=True)
            else:
                columns.append(map(form, values) if form else values)
        text = orjson.dumps(list(zip(*columns, strict=True))).decode()
        return (text, bytes(joined.bytes)) if any(self._binary) else (text,)


@cache
def _batch(table: Table, names: tuple[str, ...]) -> Batch:
    return Batch(table, names)
