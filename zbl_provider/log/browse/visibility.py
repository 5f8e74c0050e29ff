"""Which Dags have leads in the log: who may read a Dag may see them (Contract 7.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import exists, func, literal, select

from zbl_provider.log.storage.bulk import among
from zbl_provider.log.storage.tables import delivery, run

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy import Connection


def known(connection: Connection, integration: str | None = None) -> frozenset[str]:
    """
    Return the ids of the Dags that have enrolled leads.

    :param integration: only those that have sent to this connection id
    """
    # From one Dag id to the next in the index: there may be millions of runs of a few Dags.
    first = select(func.min(run.c.dag_id).label("dag_id")).cte("dags", recursive=True)
    following = select(func.min(run.c.dag_id)).where(run.c.dag_id > first.c.dag_id)
    dags = first.union_all(select(following.scalar_subquery()).where(first.c.dag_id.is_not(None)))
    dag_ids = select(dags.c.dag_id).where(dags.c.dag_id.is_not(None))
    if integration is not None:
        sent = select(literal(1)).where(
            run.c.dag_id == dags.c.dag_id, run.c.integration == integration
        )
        dag_ids = dag_ids.where(exists(sent))
    return frozenset(connection.scalars(dag_ids))


def by_integration(connection: Connection) -> dict[str, frozenset[str]]:
    """
    Return the same of each integration, in one pass over all runs.

    Asked one by one, each would pass over the runs of all others.
    """
    found: dict[str, set[str]] = {}
    for name, dag_id in connection.execute(select(run.c.integration, run.c.dag_id).distinct()):
        found.setdefault(name, set()).add(dag_id)
    return {name: frozenset(dag_ids) for name, dag_ids in found.items()}


def of(connection: Connection, delivery_ids: Collection[int]) -> frozenset[str]:
    """Return the ids of the Dags that enrolled these leads."""
    if not delivery_ids:
        return frozenset()
    owners = select(run.c.dag_id).join(delivery, delivery.c.run_id == run.c.id)
    return frozenset(
        connection.scalars(
            owners.where(delivery.c.id.in_(among(connection, delivery_ids))).distinct()
        )
    )
