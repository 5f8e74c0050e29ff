"""Many rows in one statement: on PostgreSQL a message for each would cost more than the rest."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, column, func, insert, select, update
from sqlalchemy.dialects.postgresql import ARRAY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Insert, Table, TableValuedAlias, Update


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
        connection.execute(_insert_arrays(table, tuple(rows[0])), _turned(rows))


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
        connection.execute(_update_arrays(table, tuple(rows[0])), _turned(rows))


def _turned(rows: Sequence[dict[str, Any]]) -> dict[str, list[Any]]:
    """Return the rows' columns."""
    return {_given(name): [row[name] for row in rows] for name in rows[0]}


def _by_id(row: dict[str, Any]) -> dict[str, Any]:
    values = row.copy()
    values[_given("id")] = values.pop("id")
    return values


def _given(name: str) -> str:
    # SQLAlchemy keeps the columns' own names for itself.
    return f"given_{name}"


@cache
def _insert_arrays(table: Table, names: tuple[str, ...]) -> Insert:
    given = _unnest(table, names)
    return insert(table).from_select(names, select(*(given.c[name] for name in names)))


@cache
def _update_arrays(table: Table, names: tuple[str, ...]) -> Update:
    given = _unnest(table, names)
    return (
        update(table)
        .where(table.c.id == given.c.id)
        .values({name: given.c[name] for name in names if name != "id"})
    )


@cache
def _update_each(table: Table) -> Update:
    return update(table).where(table.c.id == bindparam(_given("id")))


def _unnest(table: Table, names: tuple[str, ...]) -> TableValuedAlias:
    arrays = [bindparam(_given(name), type_=ARRAY(table.c[name].type)) for name in names]
    columns = [column(name, table.c[name].type) for name in names]
    return func.unnest(*arrays).table_valued(*columns, name="given").render_derived()
