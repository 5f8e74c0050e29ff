"""A run and its own leads: begin, count, and open again after a clear."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, union, union_all, update

from zbl_provider.log.model import (
    FAILED,
    OPEN,
    ORPHANED,
    WAITING,
    Delivery,
    Failed,
    Reopened,
    Run,
    Status,
)
from zbl_provider.log.outbox import outage
from zbl_provider.log.storage.bulk import among, insert_missing, upsert
from zbl_provider.log.storage.tables import delivery, run, run_delivery
from zbl_provider.log.storage.tables import integration as integrations

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import ColumnElement, CompoundSelect, Connection, Row, Select, Subquery

    from zbl_provider.log.model import RunKey, TaskTry

# How long after the last of its leads was settled a run's choice still counts (see ``resending``).
_CLEAR_FOLLOWS = timedelta(hours=1)
_A_MOMENT = timedelta(microseconds=1)
_NOT_FOUND = "it was invalid, and was not found again when its task was cleared"


def begin(
    connection: Connection,
    key: RunKey,
    integration: str,
    epoch: int,
    now: datetime,
    task_try: TaskTry | None = None,
) -> Run:
    """Return the run of a task instance towards an integration, written down when it is new."""
    columns = {**key.as_dict(), "integration": integration}
    # Begun anew each time: retention must not take a run for an old one while it finds its leads.
    begun = upsert(connection, run).values({**columns, "epoch": epoch, "created_at": now})
    begun = begun.on_conflict_do_update(index_elements=[*columns], set_={"created_at": now})
    known = connection.execute(begun.returning(run)).one()
    insert_missing(connection, integrations, [{"integration": integration}])
    cleared = _is_clear(known, epoch, task_try)
    if task_try and not cleared and known.try_id != task_try.id:
        connection.execute(update(run).where(run.c.id == known.id).values(_tried(task_try)))
    chosen = cleared and known.chosen and _still_chosen(connection, known.id, now)
    return Run(id=known.id, cleared=cleared, chosen=chosen, task_try=task_try)


def _is_clear(known: Row[*tuple[Any, ...]], epoch: int, task_try: TaskTry | None) -> bool:
    """
    Tell a clear from a retry, a restart and a return after a wait (Contract 4.5 and 4.10).

    On a clear Airflow sets ``max_tries``, the epoch, to the number of the last try plus the retries
    that the task has now. That is more than it was, unless ``retries`` was lowered; then it may be
    the same. A Dag run that was over, or is made anew, has another start, too. In one that goes on
    all the same it is asked after which try a clear would have set this epoch: in a life without
    one that is before the last try that is known here. As ``retries`` may have been lowered between
    two tries as well, something else has to say so: the run had ended, or a task was cleared. (It
    ends without being cleared when Airflow does not hear of it, since its API is away just then.)
    """
    if known.epoch != epoch:
        return True
    if task_try is None or known.try_id is None:
        return known.ended_at is not None
    if known.try_id == task_try.id:
        return False
    if task_try.number <= known.try_number:
        return True  # the run was deleted, and made anew
    if known.dag_run_started_at and task_try.run_started_at not in (None, known.dag_run_started_at):
        return True
    may_be = known.try_number <= epoch - task_try.retries < task_try.number
    return may_be and (known.ended_at is not None or task_try.run_clears > 0)


def _tried(task_try: TaskTry) -> dict[str, Any]:
    return {
        "try_id": task_try.id,
        "try_number": task_try.number,
        "dag_run_started_at": task_try.run_started_at,
    }


def end(connection: Connection, task: Run, now: datetime) -> None:
    """Note that the task is told now how its run ended; of a try that was replaced it is not."""
    current = run.c.id == task.id
    if task.task_try:
        current &= run.c.try_id == task.task_try.id
    connection.execute(update(run).where(current).values(ended_at=now))


def join(connection: Connection, run_id: int, delivery_ids: Iterable[int]) -> None:
    """Make leads that another run enrolled this run's own, too."""
    insert_missing(
        connection,
        run_delivery,
        [{"run_id": run_id, "delivery_id": delivery_id} for delivery_id in delivery_ids],
    )


def counts(connection: Connection, run_id: int) -> dict[Status, int]:
    """Return how many of the run's own leads stand where."""
    own = _own(run_id, delivery.c.status)
    rows = connection.execute(select(own.c.status, func.count()).group_by(own.c.status))
    return {Status(status): count for status, count in rows}


def untried(connection: Connection, run_id: int, now: datetime) -> int:
    """Return how many of the run's own leads wait for their first attempt."""
    own = _own(run_id, delivery.c.id, where=outage.untried(now))
    return connection.scalar(select(func.count()).select_from(own)) or 0


def first_failed(connection: Connection, run_id: int, limit: int) -> list[Failed]:
    """Return the first of the run's own leads that make its task fail."""
    own = _own(
        run_id,
        delivery.c.id,
        delivery.c.lead_id,
        delivery.c.status,
        delivery.c.reason,
        where=delivery.c.status.in_(sorted(FAILED)),
    )
    rows = connection.execute(
        select(own.c.lead_id, own.c.status, own.c.reason).order_by(own.c.id).limit(limit)
    )
    return [Failed(lead_id, Status(status), reason) for lead_id, status, reason in rows]


def next_due(connection: Connection, run_id: int) -> datetime | None:
    """Return when the first of the run's own unsettled leads needs somebody."""
    own = _own(run_id, delivery.c.due_at, where=delivery.c.status.in_(sorted(OPEN)))
    due_at: datetime | None = connection.execute(select(func.min(own.c.due_at))).scalar()
    return due_at


def find(connection: Connection, webhook_id: str) -> Delivery | None:
    """Return where one lead stands."""
    row = connection.execute(
        select(
            delivery.c.status, delivery.c.reason, delivery.c.attempts, delivery.c.last_status
        ).where(delivery.c.webhook_id == webhook_id)
    ).one_or_none()
    return None if row is None else Delivery(Status(row[0]), *row[1:])


def reopen(
    connection: Connection,
    task: Run,
    epoch: int,
    now: datetime,
    *,
    everything: bool,
    webhook_ids: Collection[str] | None = None,
) -> Reopened:
    """
    Give the run's failed leads, or all that were sent, a new set of attempts: once a clear.

    What waits for its next attempt is due now, and keeps the attempts that it has made (3.5); a
    destination that is down may be tried at once (8.7).
    """
    if not _act(connection, task, epoch):
        return Reopened(0, 0)
    name: str = connection.scalars(select(run.c.integration).where(run.c.id == task.id)).one()
    outage.note_probe(connection, name, None)
    if task.chosen:  # and opened again when they were
        return Reopened(0, 0)
    closed = delivery.c.status == Status.ERROR
    if everything:
        was_delivered = delivery.c.status == Status.DELIVERED
        if webhook_ids is not None:
            was_delivered &= delivery.c.webhook_id.in_(among(connection, webhook_ids))
        closed |= was_delivered
    chosen = delivery.c.id.in_(own_ids(task.id)) & closed
    sendable = delivery.c.payload.is_not(None)
    hastened = len(hasten(connection, [delivery.c.id.in_(own_ids(task.id))], now))
    reopened = len(open_again(connection, [chosen & sendable], now))
    left = connection.scalar(select(func.count()).where(chosen, ~sendable))
    return Reopened(reopened, left or 0, hastened)


def forget_invalid(connection: Connection, run_id: int, now: datetime) -> None:
    """Keep the run's invalid leads back, as the filters do, until a row is found for them."""
    invalid = _locked(delivery.c.id.in_(own_ids(run_id)), delivery.c.status == Status.INVALID)
    connection.execute(
        update(delivery)
        .where(delivery.c.id.in_(invalid))
        .values(status=Status.FILTERED, reason=_NOT_FOUND, updated_at=now)
    )


def open_again(
    connection: Connection, chosen: Sequence[ColumnElement[bool]], now: datetime
) -> Sequence[int]:
    """Give settled leads a new set of attempts, due now; return their numbers."""
    opened = (
        update(delivery)
        .where(delivery.c.id.in_(_locked(*chosen)))
        .values(
            status=Status.PENDING,
            reason=None,
            attempts=0,
            resend=delivery.c.resend + 1,
            due_at=now,
            delivered_at=None,
            updated_at=now,
        )
        # Counted by what comes back: SQLite's driver does not count behind a WITH.
        .returning(delivery.c.id)
    )
    return connection.scalars(opened).all()


def hasten(
    connection: Connection, chosen: Sequence[ColumnElement[bool]], now: datetime
) -> Sequence[int]:
    """Have leads that wait for their next attempt be due now; return their numbers."""
    waiting = delivery.c.status == Status.RETRYING.value
    due = (
        update(delivery)
        .where(delivery.c.id.in_(_locked(*chosen, waiting, delivery.c.due_at > now)))
        .values(due_at=now, updated_at=now)
        .returning(delivery.c.id)
    )
    return connection.scalars(due).all()


def put_first(connection: Connection, numbers: Collection[int], now: datetime) -> None:
    """
    Have leads that wait be due now, and be claimed before all others of their integrations.

    Those may be a hundred thousand, and due since an hour ago.
    """
    chosen = delivery.c.id.in_(among(connection, numbers))
    of_them = select(delivery.c.integration).where(chosen).distinct()
    for name in connection.scalars(of_them).all():
        of_it = delivery.c.integration == name
        due = select(func.min(delivery.c.due_at)).where(of_it, delivery.c.due_at.is_not(None))
        if earliest := connection.scalar(due):
            waiting = delivery.c.status.in_(sorted(WAITING))
            locked = delivery.c.id.in_(_locked(chosen, of_it, waiting))
            first = min(earliest, now) - _A_MOMENT
            connection.execute(update(delivery).where(locked).values(due_at=first, updated_at=now))


def leave_to_any(connection: Connection, run_ids: Collection[int], now: datetime) -> None:
    """Have what is due of runs be taken along at once by any task of its integration (4.11)."""
    due = (
        delivery.c.status.in_(sorted(WAITING)),
        delivery.c.due_at.between(now - ORPHANED, now),
    )
    chosen = among(connection, run_ids)
    # Found first, and then by number: of all in one statement PostgreSQL makes a bad plan.
    own = union(
        select(delivery.c.id).where(delivery.c.run_id.in_(chosen), *due),
        select(delivery.c.id)
        .join(run_delivery, run_delivery.c.delivery_id == delivery.c.id)
        .where(run_delivery.c.run_id.in_(chosen), *due),
    )
    leads = connection.scalars(own).all()
    if leads:
        still = _locked(delivery.c.id.in_(among(connection, leads)), *due)
        connection.execute(
            update(delivery)
            .where(delivery.c.id.in_(still))
            .values(due_at=now - ORPHANED, updated_at=now)
        )


def _locked(*chosen: ColumnElement[bool]) -> Select[tuple[int]]:
    """
    Select the numbers of leads, locked by number as everyone locks them: so no two wait in a ring.

    Those that are changed are just these, though a worker may settle others meanwhile.
    """
    leads = select(delivery.c.id).where(*chosen).order_by(delivery.c.id).with_for_update()
    return select(leads.cte("locked").c.id)


def _act(connection: Connection, task: Run, epoch: int) -> bool:
    """Tell whether this call is the one that acts on the clear."""
    values: dict[str, Any] = {"epoch": epoch, "ended_at": None}
    open_clear = (run.c.epoch != epoch) | run.c.ended_at.is_not(None)
    if task.task_try:
        values |= _tried(task.task_try)
        open_clear |= run.c.try_id.is_distinct_from(task.task_try.id)
    if task.chosen:  # a choice made since the task began is left to the clear that follows it
        values["chosen"] = False
    acted = update(run).where(run.c.id == task.id, open_clear).values(values)
    return bool(connection.execute(acted).rowcount)


def _still_chosen(connection: Connection, run_id: int, now: datetime) -> bool:
    """Tell whether a clear means the leads chosen before; if not, that is forgotten."""
    recent = delivery.c.due_at.is_not(None) | (delivery.c.updated_at > now - _CLEAR_FOLLOWS)
    own = select(delivery.c.id).where(delivery.c.id.in_(own_ids(run_id)), recent)
    if connection.scalar(select(own.exists())):
        return True
    connection.execute(update(run).where(run.c.id == run_id).values(chosen=False))
    return False


def own_ids(run_id: int) -> CompoundSelect[int]:
    """Select the numbers of the run's own leads: those it enrolled and those it took on."""
    return union_all(
        select(delivery.c.id).where(delivery.c.run_id == run_id),
        select(run_delivery.c.delivery_id).where(run_delivery.c.run_id == run_id),
    )


def _own(
    run_id: int, *columns: ColumnElement[Any], where: ColumnElement[bool] | None = None
) -> Subquery:
    # Two branches, each with an index of its own: an OR over both would read the whole table.
    branches = [
        select(*columns).where(delivery.c.run_id == run_id),
        select(*columns)
        .join(run_delivery, run_delivery.c.delivery_id == delivery.c.id)
        .where(run_delivery.c.run_id == run_id),
    ]
    if where is not None:
        branches = [branch.where(where) for branch in branches]
    return union_all(*branches).subquery("own")
