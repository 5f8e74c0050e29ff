"""
Many rows in one statement: on PostgreSQL a message for each would cost more than the rest.

They travel as one JSON text, which the server takes apart by its columns' own types. Arrays would
do the same, but psycopg builds those in Python, value by value.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import BigInteger, Text, bindparam, cast, column, func, insert, select, update
from sqlalchemy.dialects.postgresql import JSON

from zbl_provider.log.tables import Words, storable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection, Insert, Select, Table, TableValuedAlias, Update

_GIVEN = "given"


def insert_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """
    Insert rows that all have the same columns.

    :param connection: in a transaction
    :param table: where to
    :param rows: column names and values; at least one row
    """
    if connection.dialect.name == "sqlite":
        connection.execute(insert(table), rows)
    else:
        connection.execute(_insert_given(table, tuple(rows[0])), {_GIVEN: _text(table, rows)})


def update_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """
    Write new values over rows that this transaction has locked.

    :param connection: in a transaction
    :param table: has an ``id``
    :param rows: the same column names in all, and values; the ``id`` says which row; at least one
    """
    if connection.dialect.name == "sqlite":
        connection.execute(_update_each(table), [_by_id(row) for row in rows])
    else:
        connection.execute(_update_given(table, tuple(rows[0])), {_GIVEN: _text(table, rows)})


def among(connection: Connection, values: Iterable[str | int]) -> Select[tuple[Any]]:
    """
    Select the given values, for an IN.

    As one JSON text they make the same statement however many they are, which drivers and servers
    prepare once; a list of parameters would be compiled and planned anew each time.
    """
    values = list(values)
    text = bindparam(None, orjson.dumps(values).decode(), type_=Text)
    kind = BigInteger() if values and isinstance(values[0], int) else Text()
    if connection.dialect.name == "sqlite":
        return select(cast(func.json_each(text).table_valued("value").c.value, kind))
    return select(
        cast(func.json_array_elements_text(cast(text, JSON)).column_valued("value"), kind)
    )


def _text(table: Table, rows: Sequence[dict[str, Any]]) -> str:
    words = [name for name in rows[0] if isinstance(table.c[name].type, Words)]
    texts = [row | {name: storable(row[name]) for name in words} for row in rows]
    return orjson.dumps(texts, default=_form).decode()


def _form(value: object) -> str:
    """Give bytes the form in which PostgreSQL reads them."""
    if isinstance(value, bytes):
        return "\\x" + value.hex()
    raise TypeError(type(value).__name__)


def _by_id(row: dict[str, Any]) -> dict[str, Any]:
    values = row.copy()
    # SQLAlchemy keeps the columns' own names for itself.
    values[_GIVEN] = values.pop("id")
    return values


@cache
def _insert_given(table: Table, names: tuple[str, ...]) -> Insert:
    given = _given(table, names)
    return insert(table).from_select(names, select(*(given.c[name] for name in names)))


@cache
def _update_given(table: Table, names: tuple[str, ...]) -> Update:
    given = _given(table, names)
    return (
        update(table)
        .where(table.c.id == given.c.id)
        .values({name: given.c[name] for name in names if name != "id"})
    )


@cache
def _update_each(table: Table) -> Update:
    return update(table).where(table.c.id == bindparam(_GIVEN))


def _given(table: Table, names: tuple[str, ...]) -> TableValuedAlias:
    columns = [column(name, table.c[name].type) for name in names]
    rows = func.json_to_recordset(cast(bindparam(_GIVEN, type_=Text), JSON))
    return rows.table_valued(*columns, name=_GIVEN).render_derived(with_types=True)
