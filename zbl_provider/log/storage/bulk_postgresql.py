"""
Many rows in one statement for PostgreSQL: as one JSON text, and their bytes end to end beside it.

The server takes the text apart by its columns' own types, and cuts each row's bytes out. Arrays
would do the same, but psycopg builds those in Python, value by value; and bytes spelt out in JSON
would be twice as long.
"""

from __future__ import annotations

from functools import cache
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
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, Insert, Table, TableValuedAlias, Update

_GIVEN, _BYTES = "given", "bytes"


def insert_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Insert rows that all have the same columns."""
    connection.execute(_insert(table, tuple(rows[0])), _parameters(table, rows))


def update_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Write new values over the rows that have these ids."""
    connection.execute(_update(table, tuple(rows[0])), _parameters(table, rows))


def _parameters(table: Table, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    words = [name for name in rows[0] if isinstance(table.c[name].type, Words)]
    binary = [name for name in rows[0] if _is_binary(table, name)]
    joined = Joined()
    texts = []
    for row in rows:
        text = row.copy()
        for name in words:
            text[name] = storable(text[name])
        for name in binary:
            text[_start(name)], text[_size(name)] = joined.add(text.pop(name))
        texts.append(text)
    return {_GIVEN: orjson.dumps(texts).decode(), _BYTES: bytes(joined.bytes)}


@cache
def _insert(table: Table, names: tuple[str, ...]) -> Insert:
    given = _given(table, names)
    return insert(table).from_select(names, select(*(_value(table, given, name) for name in names)))


@cache
def _update(table: Table, names: tuple[str, ...]) -> Update:
    given = _given(table, names)
    return (
        update(table)
        .where(table.c.id == given.c.id)
        .values({name: _value(table, given, name) for name in names if name != "id"})
    )


def _given(table: Table, names: tuple[str, ...]) -> TableValuedAlias:
    columns: list[Any] = []
    for name in names:
        if _is_binary(table, name):
            columns += [column(_start(name), Integer), column(_size(name), Integer)]
        else:
            columns.append(column(name, table.c[name].type))
    rows = func.json_to_recordset(cast(bindparam(_GIVEN, type_=Text), JSON))
    return rows.table_valued(*columns, name=_GIVEN).render_derived(with_types=True)


def _value(table: Table, given: TableValuedAlias, name: str) -> ColumnElement[Any]:
    if not _is_binary(table, name):
        return given.c[name]
    joined = cast(bindparam(_BYTES, type_=LargeBinary), LargeBinary)
    return func.substr(joined, given.c[_start(name)], given.c[_size(name)])


def _is_binary(table: Table, name: str) -> bool:
    return isinstance(table.c[name].type, LargeBinary)


def _start(name: str) -> str:
    return f"{name}_start"


def _size(name: str) -> str:
    return f"{name}_size"
