"""
Defers a run's task instances as their worker would: a row for each trigger, and where to go on.

Ten thousand tasks that start would take this machine some hours. A program of its own, because it
has Airflow's settings.
"""

from __future__ import annotations

import argparse
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.models.serialized_dag import SerializedDagModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.trigger import Trigger
from airflow.sdk.serde import serialize
from airflow.utils.session import create_session
from airflow.utils.state import TaskInstanceState
from sqlalchemy import select

from zbl_provider.triggers.due import DueTrigger
from zbl_provider.triggers.kept_back import KeptBackTrigger

if TYPE_CHECKING:
    from airflow.triggers.base import BaseTrigger


def defer(run_id: str, count: int, trigger: BaseTrigger) -> None:
    """Map the run's one task so many times, and have each wait for a trigger of its own."""
    with create_session() as session:
        of_run = select(TaskInstance).where(TaskInstance.run_id == run_id)
        first = session.scalars(of_run).one()
        dag = SerializedDagModel.get_dag(first.dag_id)
        assert dag
        task = dag.get_task(first.task_id)
        for n in range(count):
            waiting = first if n == first.map_index else _another(first, task, n)
            row = Trigger.from_object(trigger)
            session.add_all([waiting, row])
            session.flush([row])
            waiting.state = TaskInstanceState.DEFERRED
            waiting.trigger_id = row.id
            waiting.next_method = "resume"
            waiting.next_kwargs = serialize({})


def _another(first: TaskInstance, task: Any, n: int) -> TaskInstance:  # noqa: ANN401
    """Return one more, as Airflow makes them when it learns how many leads there are."""
    return TaskInstance(task, run_id=first.run_id, map_index=n, dag_version_id=first.dag_version_id)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("run_id")
    parser.add_argument("count", type=int)
    parser.add_argument("--until", type=datetime.fromisoformat, help="wait so long, come what may")
    options = parser.parse_args()
    trigger: BaseTrigger = KeptBackTrigger(webhook_conn_id="crm")
    if options.until:
        trigger = DueTrigger(options.until)
    defer(options.run_id, options.count, trigger)
