"""Many rows in one statement: one for each would cost more than the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import BigInteger, Text, bindparam, cast, func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import JSON

from zbl_provider.log.storage import bulk_postgresql, bulk_sqlite

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import (
        BindParameter,
        Column,
        ColumnElement,
        Connection,
        Row,
        Select,
        Subquery,
        Table,
    )

_KINDS = {"postgresql": bulk_postgresql, "sqlite": bulk_sqlite}


def insert_rows(
    connection: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    returning: tuple[str, ...] = (),
) -> Sequence[Row[*tuple[Any, ...]]]:
    """
    Insert rows that all have the same columns.

    :param connection: in a transaction
    :param table: where to
    :param rows: column names and values; at least one row
    :param returning: columns to read back
    :return: these, of each row, in any order
    """
    kind = _KINDS[connection.dialect.name]
    inserted: Sequence[Row[*tuple[Any, ...]]] = kind.insert_rows(connection, table, rows, returning)
    return inserted


def update_rows(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """
    Write new values over rows that this transaction has locked.

    :param connection: in a transaction
    :param table: has an ``id``
    :param rows: the same column names in all, and values; the ``id`` says which row; at least one
    """
    _KINDS[connection.dialect.name].update_rows(connection, table, rows)


def insert_missing(connection: Connection, table: Table, rows: list[dict[str, Any]]) -> None:
    """
    Insert the rows that are not there yet.

    :param connection: in a transaction
    :param table: where to
    :param rows: column names and values; there may be none
    """
    if rows:
        connection.execute(upsert(connection, table).on_conflict_do_nothing(), rows)


def upsert(connection: Connection, table: Table) -> Any:  # noqa: ANN401  each dialect has its own
    """Return the dialect's own INSERT, which knows ON CONFLICT."""
    dialect = sqlite if connection.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def among(connection: Connection, values: Iterable[str | int]) -> Select[tuple[Any]]:
    """
    Select the given values, for an IN.

    As one JSON text they make the same statement however many they are, which drivers and servers
    prepare once; a list of parameters would be compiled and planned anew each time.
    """
    values = list(values)
    kind = BigInteger() if values and isinstance(values[0], int) else Text()
    return listed(connection.dialect.name, bindparam(None, as_json(values), type_=Text), kind)


def listed(dialect: str, text: BindParameter[str], kind: BigInteger | Text) -> Select[tuple[Any]]:
    """
    Select the values of a JSON text, for a statement that is built once.

    :param dialect: the database's
    :param text: takes what `as_json` returns
    :param kind: the values' type
    """
    if dialect == "sqlite":
        return select(cast(func.json_each(text).table_valued("value").c.value, kind))
    return select(
        cast(func.json_array_elements_text(cast(text, JSON)).column_valued("value"), kind)
    )


def as_json(values: Iterable[object]) -> str:
    """Return values as the JSON text that a statement takes apart."""
    return orjson.dumps(list(values)).decode()


def given(
    connection: Connection, columns: Sequence[Column[Any]], rows: Iterable[Sequence[str | int]]
) -> Subquery:
    """
    Return values of several columns as a table, to be joined.

    As one JSON text, as of `among`.

    :param connection: tells the database
    :param columns: the result's columns have their names and types
    :param rows: a value for each column
    """
    return tabled(connection.dialect.name, columns, bindparam(None, as_json(rows), type_=Text))


def tabled(dialect: str, columns: Sequence[Column[Any]], text: BindParameter[str]) -> Subquery:
    """
    Return the rows of a JSON text as a table, for a statement that is built once.

    :param dialect: the database's
    :param columns: as of `given`
    :param text: takes what `as_json` returns
    """
    if dialect == "sqlite":
        row = func.json_each(text).table_valued("value").c.value
        cells: list[ColumnElement[Any]] = [
            func.json_extract(row, f"$[{place}]") for place in range(len(columns))
        ]
    else:
        row = func.json_array_elements(cast(text, JSON)).column_valued("value")
        cells = [row.op("->>")(place) for place in range(len(columns))]
    named = zip(cells, columns, strict=True)
    return select(*(cast(cell, column.type).label(column.name) for cell, column in named)).subquery(
        "given"
    )
