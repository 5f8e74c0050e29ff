"""A query's meaning in SQL: conditions, and the ways to what they mean that an index offers."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, true, union

from zbl_provider.leads.payload import webhook_id
from zbl_provider.log.model import OPEN
from zbl_provider.log.storage.tables import (
    TROUBLED,
    TROUBLED_SQL,
    delivery,
    integration,
    run,
    run_delivery,
)

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from sqlalchemy import Column, ColumnElement, CompoundSelect, Connection, Select

    from zbl_provider.log.browse.model import Query

_LARGEST_INDEX = 2**31 - 1

# Rows are numbered as they are written, and dated by the clock of the worker that writes them.
CLOCKS_DIFFER = timedelta(hours=1)


def conditions(connection: Connection, query: Query) -> list[ColumnElement[bool]]:
    """Return what holds for each delivery that the query means."""
    where = _named(connection, query)
    if query.status:
        where.append(delivery.c.status == query.status.value)
        if query.status in OPEN:
            where.append(delivery.c.due_at.is_not(None))  # which the index of what is due wants
        if query.status in TROUBLED:
            where.append(TROUBLED_SQL)
    if query.integration is not None:
        where.append(delivery.c.integration == query.integration)
    if query.since:
        where.append(delivery.c.created_at >= query.since)
    if query.until:
        where.append(delivery.c.created_at < query.until)
    if query.dags is not None:
        where.append(delivery.c.run_id.in_(runs_of(query.dags)))
    if of_runs(query):
        where.append(delivery.c.run_id.in_(runs(query)) | delivery.c.id.in_(_taken_on(query)))
    return where


def _named(connection: Connection, query: Query) -> list[ColumnElement[bool]]:
    where: list[ColumnElement[bool]] = []
    if query.lead_id is not None:
        # The lead's id has no index: what it became for each integration has one.
        named = query.integration
        names = known_integrations(connection) if named is None else [named]
        ids = [webhook_id(name, query.lead_id) for name in names]
        where.append(delivery.c.webhook_id.in_(ids))
    if query.email_hashes is not None:
        where.append(delivery.c.email_hash.in_(query.email_hashes))
    return where


def of_runs(query: Query) -> bool:
    """Tell whether the query names task instances."""
    named = (query.dag_id, query.task_id, query.run_id, query.map_index)
    return any(value is not None for value in named)


def names_leads(query: Query) -> bool:
    """Tell whether the query names a lead, or a person: then an index has all that it means."""
    return query.lead_id is not None or query.email_hashes is not None


def runs(query: Query) -> Select[tuple[int]]:
    """Select the numbers of the runs that may have leads the query means."""
    wanted = {
        "dag_id": query.dag_id,
        "task_id": query.task_id,
        "run_id": query.run_id,
        "map_index": None if query.map_index is None else min(query.map_index, _LARGEST_INDEX),
        "integration": query.integration,
    }
    named = {name: value for name, value in wanted.items() if value is not None}
    return select(run.c.id).filter_by(**named)


def runs_of(dags: Collection[str]) -> Select[tuple[int]]:
    """Select the numbers of the runs of some Dags."""
    return select(run.c.id).where(run.c.dag_id.in_(sorted(dags)))


def by_index(
    connection: Connection, query: Query
) -> Select[tuple[int]] | CompoundSelect[int] | None:
    """
    Select numbers of leads by an index: all that the query means, and some that it does not.

    :return: None where no index helps, or walking through all leads is as quick
    """
    ids = select(delivery.c.id)
    if query.status:
        ids = ids.where(delivery.c.status == query.status.value)
    if of_runs(query):
        taken_on = ids.where(delivery.c.id.in_(_taken_on(query)))
        return union(ids.where(delivery.c.run_id.in_(runs(query))), taken_on)
    if query.integration is not None:
        # A lead's first run is of its own integration, and runs are far fewer than leads.
        return _by_run(connection, ids, runs(query))
    if query.status in OPEN:
        return ids.where(delivery.c.due_at.is_not(None))
    if query.dags is not None:
        return _by_run(connection, ids, runs_of(query.dags))
    return None


def _by_run(
    connection: Connection, ids: Select[tuple[int]], chosen: Select[tuple[int]]
) -> Select[tuple[int]]:
    """
    Select leads run by run, so that whoever wants a few has them soon.

    PostgreSQL takes all runs for equally full, and would rather read every lead than look up those
    of runs that have next to none.
    """
    if connection.dialect.name == "sqlite":
        return ids.where(delivery.c.run_id.in_(chosen))
    chosen_run = chosen.subquery("chosen_run")
    own = ids.where(delivery.c.run_id == chosen_run.c.id).offset(0).lateral("own")
    return select(own.c.id).select_from(chosen_run).join(own, true())


def first_since(
    connection: Connection, ids: Column[Any], instant: Column[Any], moment: datetime
) -> int:
    """
    Return the first number whose row is not older than a moment.

    Numbers grow with time, so a binary search over the primary key finds it. An index on the time
    would have to be kept up for every lead.
    """
    ends = select(
        select(func.min(ids)).scalar_subquery(), select(func.max(ids) + 1).scalar_subquery()
    )
    low, high = connection.execute(ends).one()
    while low is not None and low < high:
        middle = (low + high) // 2
        next_one = select(ids, instant).where(ids >= middle, ids < high).order_by(ids).limit(1)
        row = connection.execute(next_one).one_or_none()
        if row is None or row[1] >= moment:
            high = middle
        else:
            low = row[0] + 1
    return low or 0


def known_integrations(connection: Connection) -> list[str]:
    """Return the connection ids that leads were enrolled for."""
    return list(
        connection.scalars(select(integration.c.integration).order_by(integration.c.integration))
    )


def _taken_on(query: Query) -> Select[tuple[int]]:
    return select(run_delivery.c.delivery_id).where(run_delivery.c.run_id.in_(runs(query)))
