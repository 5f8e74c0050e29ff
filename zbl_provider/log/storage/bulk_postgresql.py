"""
Many rows in one statement for PostgreSQL: as one JSON text, and their bytes end to end beside it.

The server takes the text apart by its columns' own types, and cuts each row's bytes out. Arrays
would do the same, but psycopg builds those in Python, value by value; and bytes spelt out in JSON
would be twice as long.
"""

from __future__ import annotations

from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import (
    Integer,
    LargeBinary,
    Text,
    bindparam,
    cast,
    column,
    func,
    insert,
    select,
    update,
)
from sqlalchemy.dialects.postgresql import JSON

from zbl_provider.log.storage.blob import Joined
from zbl_provider.log.storage.tables import Words
from zbl_provider.log.storage.text import storable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import CTE, ColumnElement, Connection, Insert, Row, Table, Update
    from sqlalchemy.types import TypeEngine

_GIVEN, _BYTES = "given", "bytes"


def insert_rows(
    connection: Connection, table: Table, rows: Sequence[dict[str, Any]], returning: tuple[str, ...]
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Insert rows that all have the same columns; return some columns of them."""
    batch = _batch(table, tuple(rows[0]), returning)
    result = connection.execute(batch.insert, batch.parameters(rows))
    return result.all() if returning else ()


def update_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Write new values over the rows that have these ids."""
    batch = _batch(table, tuple(rows[0]))
    connection.execute(batch.update, batch.parameters(rows))


class Given:
    """
    Rows as a statement has them, however many there are.

    :param types: the columns' types by name, in the order of each row's keys
    :ivar values: the columns
    """

    def __init__(self, types: Mapping[str, TypeEngine[Any]]) -> None:
        self._words = [name for name, kind in types.items() if isinstance(kind, Words)]
        # Of bytes a row has where they begin, and how many they are.
        self._binary = {
            name: (f"{name}_start", f"{name}_size")
            for name, kind in types.items()
            if isinstance(kind, LargeBinary)
        }
        columns: list[Any] = []
        for name, kind in types.items():
            if place := self._binary.get(name):
                columns += [column(part, Integer) for part in place]
            else:
                columns.append(column(name, kind))
        rows = func.json_to_recordset(cast(bindparam(_GIVEN, type_=Text), JSON))
        given = rows.table_valued(*columns, name=_GIVEN).render_derived(with_types=True)
        joined = cast(bindparam(_BYTES, type_=LargeBinary), LargeBinary)
        self.values: dict[str, ColumnElement[Any]] = {
            name: func.substr(joined, *(given.c[part] for part in self._binary[name]))
            if name in self._binary
            else given.c[name]
            for name in types
        }

    @property
    def table(self) -> CTE:
        """The rows as a table, taken apart once for all that a statement does with them."""
        named = [value.label(name) for name, value in self.values.items()]
        return select(*named).cte("rows")

    def parameters(self, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
        """Return what a statement binds for some rows."""
        joined = Joined()
        texts = []
        for row in rows:
            text = row.copy()
            for name in self._words:
                text[name] = storable(text[name])
            for name, (start, size) in self._binary.items():
                text[start], text[size] = joined.add(text.pop(name))
            texts.append(text)
        return {_GIVEN: orjson.dumps(texts).decode(), _BYTES: bytes(joined.bytes)}


class Batch(Given):
    """
    Rows of one table that have the same columns: two statements for however many there are.

    :param table: the table
    :param names: the columns' names, in the order of each row's keys
    :param returning: the names of those that are read back from what is inserted
    """

    def __init__(self, table: Table, names: Sequence[str], returning: Sequence[str]) -> None:
        super().__init__({name: table.c[name].type for name in names})
        self._table = table
        self._returning = [table.c[name] for name in returning]

    @cached_property
    def insert(self) -> Insert:
        """The statement that inserts them."""
        values = select(*self.values.values())
        statement = insert(self._table).from_select([*self.values], values)
        return statement.returning(*self._returning) if self._returning else statement

    @cached_property
    def update(self) -> Update:
        """The statement that writes them over the rows of the same ids."""
        changes = {name: value for name, value in self.values.items() if name != "id"}
        return update(self._table).where(self._table.c.id == self.values["id"]).values(changes)


@cache
def _batch(table: Table, names: tuple[str, ...], returning: tuple[str, ...] = ()) -> Batch:
    return Batch(table, names, returning)
