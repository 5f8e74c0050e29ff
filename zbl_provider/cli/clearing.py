"""Clears task instances as `airflow tasks clear` does: in the metadata database, as its owner."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from airflow.models.dagbag import DBDagBag
from airflow.models.taskinstance import TaskInstance
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from zbl_provider.log.model import RunKey

if TYPE_CHECKING:
    from collections.abc import Collection

    from sqlalchemy.orm import Session

# It starts in a moment, or is at it, and sends whatever is due: a clear would only interrupt it.
_AT_WORK = frozenset(
    {
        TaskInstanceState.SCHEDULED,
        TaskInstanceState.QUEUED,
        TaskInstanceState.RUNNING,
        TaskInstanceState.RESTARTING,
    }
)


def clear(keys: Collection[RunKey]) -> frozenset[RunKey]:
    """
    Clear task instances, so that they run again.

    :param keys: which ones
    :return: those that were cleared; others are gone, or at work
    """
    runs: dict[tuple[str, str], list[RunKey]] = defaultdict(list)
    for key in keys:
        runs[key.dag_id, key.run_id].append(key)
    done: set[RunKey] = set()
    for (dag_id, run_id), wanted in sorted(runs.items()):
        with create_session() as session:
            done |= _clear_run(session, dag_id, run_id, set(wanted))
    return frozenset(done)


def _clear_run(session: Session, dag_id: str, run_id: str, wanted: set[RunKey]) -> set[RunKey]:
    dag = DBDagBag().get_latest_version_of_dag(dag_id, session=session)
    if dag is None:
        return set()
    query = select(TaskInstance).where(
        TaskInstance.dag_id == dag_id,
        TaskInstance.run_id == run_id,
        TaskInstance.task_id.in_({key.task_id for key in wanted}),
    )
    idle = {
        RunKey(dag_id, instance.task_id, run_id, instance.map_index)
        for instance in session.scalars(query)
        if instance.state not in _AT_WORK
    } & wanted
    known = {key for key in idle if dag.has_task(key.task_id)}
    if known:
        tasks = [(key.task_id, key.map_index) for key in known]
        dag.clear(run_id=run_id, task_ids=tasks, session=session)
    return known
