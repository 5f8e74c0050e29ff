"""What a callback is told by Airflow, as facts that may be sent."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Occasion:
    """
    Why a callback runs: a task's state, the end of a Dag run, or a missed deadline.

    Nothing in it is data of a lead, nor the text of an exception, which may quote some.

    :param kind: ``task``, ``dag_run``, ``deadline`` or ``integration``
    :param state: Airflow's word for the state of the task, or of the Dag run; of an integration
        ``down``, ``paused`` or ``back``
    :param task_id: the task; None where it is about the Dag run as a whole, as is all that follows
    :param map_index: of a mapped task
    :param try_number: Airflow's count of the task's runs
    :param logical_date: of the Dag run, if it has one
    :param run_after: when the Dag run was due
    :param deadline: the moment that was missed
    :param turn: tells the same occasion of a cleared run from the one before
    """

    kind: str
    state: str | None
    dag_id: str
    run_id: str
    task_id: str | None
    map_index: int | None
    try_number: int | None
    logical_date: str | None
    run_after: str | None
    deadline: str | None
    turn: str

    @property
    def event(self) -> str:
        """The event type, such as ``task.failed``."""
        return "deadline.missed" if self.kind == "deadline" else f"{self.kind}.{self.state}"

    def url(self, base_url: str) -> str:
        """
        Return where Airflow shows it.

        :param base_url: `[api] base_url`
        """
        url = f"{base_url.rstrip('/')}/dags/{quote(self.dag_id)}/runs/{quote(self.run_id)}"
        if self.task_id is None:
            return url
        mapped = "" if self.map_index is None else f"/mapped/{self.map_index}"
        return f"{url}/tasks/{quote(self.task_id)}{mapped}"


def occasion(context: Mapping[str, Any]) -> Occasion:
    """
    Read the context of a callback, whichever part of Airflow runs it.

    A task's own process gives the task instance with its state; the Dag processor, which speaks for
    Dag runs and for tasks whose worker was lost, gives a `reason` or no state; the triggerer, for a
    missed deadline, a plain dict.

    :param context: Airflow's, as the callback gets it
    """
    run = context.get("dag_run")
    if "deadline" in context:
        return _of_run(context, run, "deadline")
    if "reason" in context or context.get("ti") is None:
        return _of_run(context, run, "dag_run")
    task_instance = context["ti"]
    tries, limit = _get(task_instance, "try_number"), _get(task_instance, "max_tries")
    # What becomes of a task whose worker was lost is told as Airflow itself decides it.
    goes_on = limit and tries is not None and tries <= limit
    lost = "up_for_retry" if goes_on else "failed"
    kind, state, turn = "task", _word(_get(task_instance, "state")) or lost, str(tries)
    if outage := context.get("outage"):
        # One try of a task may tell of several, and each is a notification of its own.
        kind, state = "integration", outage["event"]
        turn = f"{turn} {outage['integration']} {outage['since']}"
    map_index = _get(task_instance, "map_index")
    return Occasion(
        kind=kind,
        state=state,
        dag_id=task_instance.dag_id,
        run_id=task_instance.run_id,
        task_id=task_instance.task_id,
        map_index=None if map_index is None or map_index < 0 else map_index,
        try_number=tries,
        logical_date=_time(_get(run, "logical_date")),
        run_after=_time(_get(run, "run_after")),
        deadline=None,
        turn=turn,
    )


def _of_run(context: Mapping[str, Any], run: object, kind: str) -> Occasion:
    deadline = context.get("deadline") or {}
    reason = context.get("reason")
    told = None if reason is None else "success" if reason == "success" else "failed"
    dag_id = _get(run, "dag_id") or _get(context.get("dag"), "dag_id")
    run_id = _get(run, "run_id") or _get(run, "dag_run_id") or context.get("run_id")
    return Occasion(
        kind=kind,
        state=_word(_get(run, "state")) or told,
        dag_id=str(dag_id or ""),
        run_id=str(run_id or ""),
        task_id=None,
        map_index=None,
        try_number=None,
        logical_date=_time(_get(run, "logical_date")),
        run_after=_time(_get(run, "run_after")),
        deadline=_time(deadline.get("deadline_time")),
        turn=str(deadline.get("id") or _get(run, "clear_number") or 0),
    )


def _get(thing: object, name: str) -> Any:  # noqa: ANN401  whatever Airflow holds there
    return thing.get(name) if isinstance(thing, dict) else getattr(thing, name, None)


def _word(state: object) -> str | None:
    return None if state is None else str(getattr(state, "value", state))


def _time(moment: datetime | str | None) -> str | None:
    """Write a time as a payload has it: RFC 3339, UTC, whole seconds (Contract 2.2)."""
    if moment is None:
        return None
    if isinstance(moment, str):
        moment = datetime.fromisoformat(moment)
    return f"{moment.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"
