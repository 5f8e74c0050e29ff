"""`airflow zbl deliveries …`: list, show, resend, send now, purge, erase."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zbl_provider.cli import shell
from zbl_provider.cli.shell import WRONG_USE, Stop, command, confirm, instant, note, plural, say
from zbl_provider.dispatch.dispatcher import utc_now
from zbl_provider.exceptions import ZblError
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import WAITING, RunKey, Status
from zbl_provider.log.upkeep.stepwise import step_by_step

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Collection, Iterator
    from datetime import datetime, timedelta

    from zbl_provider.log.browse.model import Attempt, Page, Row
    from zbl_provider.log.store import DeliveryLog

_PAGE = 1000
_STEP = 1000
_FILTERS = ("integration", "dag_id", "task_id", "run_id", "map_index", "since", "until", "lead_id")


@command(recorded=False)
def list_deliveries(args: Namespace) -> None:
    """List leads, the newest first."""
    log, query = shell.the_log(), _query(args, Status(args.status) if args.status else None)
    if args.email is not None:
        query = replace(query, email_hashes=log.reader.email_hashes(args.email))
    rows: list[Row] = []
    before = args.before
    while len(rows) < args.limit:
        page: Page = log.reader.deliveries(query, min(args.limit - len(rows), _PAGE), before)
        rows += page.rows
        before = page.next
        if before is None:
            break
    lay_out = _line if args.output in {"table", "plain"} else _fields
    shell.show([lay_out(row) for row in rows], args.output)
    if before is not None:
        note(f"There are more: add --before {before}, or raise --limit.")


@command(recorded=False)
def show(args: Namespace) -> None:
    """Show one lead with its attempts."""
    detail = shell.the_log().reader.delivery(args.delivery_id)
    if detail is None:
        raise Stop(f"There is no lead with the number {args.delivery_id} in the delivery log.")
    fields = _fields(detail.row) | {"sendable": detail.sendable}
    attempts = [_attempt(attempt) for attempt in detail.attempts]
    if args.output in {"json", "yaml"}:
        shell.show([fields | {"attempt_log": attempts}], args.output)
        return
    shell.show([{"field": name, "value": value} for name, value in fields.items()], args.output)
    shell.show(attempts, args.output)


@command(recorded=True)
def resend(args: Namespace) -> None:
    """Give leads a new set of attempts, and clear the tasks that own them."""
    chosen = _chosen(args)
    log = shell.the_log()
    count = log.resendable(chosen) if isinstance(chosen, Query) else len(chosen)
    if not count:
        say("There is nothing to send again.")
        return
    confirm(args, f"Send {plural(count, 'lead')} again?")
    count, runs, names, now = 0, set[RunKey](), set[str](), utc_now()
    with _clearing_all_the_same(log, runs, wanted=not args.no_clear):
        while True:  # in steps, so that none keeps the log's writers waiting for long
            done = log.resend(chosen, now, limit=_STEP)
            count += done.count
            runs.update(done.runs)
            names.update(done.integrations)
            if done.count < _STEP:
                break
    if unsendable := done.unsendable:
        note(
            f"{plural(unsendable, 'lead')} cannot be sent again: the delivery log no longer has "
            "their data, or never had it to send."
        )
    if not count:
        raise Stop(f"No lead is sent again: {_where_they_stand(log, chosen)}.")
    in_the_way = _in_the_way(log, names)
    say("\n".join([f"{plural(count, 'lead')} will be sent again.", *in_the_way]))
    _clear(log, runs, wanted=not args.no_clear, at_once=not in_the_way)


@command(recorded=True)
def send_now(args: Namespace) -> None:
    """Have leads that wait for an attempt be due at once, and clear the tasks that wait for it."""
    chosen = _chosen(args)
    log = shell.the_log()
    count = log.count_waiting(chosen) if isinstance(chosen, Query) else len(chosen)
    if not count:
        say("No lead waits to be sent.")
        return
    confirm(args, f"Send {plural(count, 'lead')} now?")
    count, runs, names, now = 0, set[RunKey](), set[str](), utc_now()
    after: int | None = 0
    with _clearing_all_the_same(log, runs, wanted=not args.no_clear):
        while after is not None:
            done = log.send_now(chosen, now, limit=_STEP, after=after)
            count, after = count + done.count, done.after
            runs.update(done.runs)
            names.update(done.integrations)
    if not count:
        raise Stop(f"No lead is sent now: {_where_they_stand(log, chosen)}.")
    in_the_way = _in_the_way(log, names)
    become = f"{'is' if count == 1 else 'are'} due" if in_the_way else "will be sent"
    said = f"{plural(count, 'lead')} {become} now; the attempts that were made count."
    say("\n".join([said, *in_the_way]))
    _clear(log, runs, wanted=not args.no_clear, at_once=not in_the_way)


@command(recorded=True)
def purge(args: Namespace) -> None:
    """Clear and delete what the retention no longer keeps, to the end."""
    from zbl_provider.hooks.retention import retention

    kept = retention()
    question = f"Clear the personal data of leads delivered more than {kept.payloads.days} days ago"
    if kept.rows:
        question += f", and delete leads settled more than {kept.rows.days} days ago"
    confirm(args, question + "?")
    log, now = shell.the_log(), utc_now()
    cleared = _to_the_end(log.purge_payloads, now, kept.payloads, "cleared")
    deleted = _to_the_end(log.purge_rows, now, kept.rows, "deleted") if kept.rows else 0
    say(
        f"Cleared the personal data of {plural(cleared, 'lead')}, "
        f"and deleted {plural(deleted, 'old lead')}."
    )


@command(recorded=False)  # whom it was about must not be written down anywhere
def erase(args: Namespace) -> None:
    """Forget a person on request."""
    log = shell.the_log()
    detail = log.reader.deliveries(Query(lead_id=args.lead), _PAGE).rows
    # What was erased before is found by its hash, and has another name.
    known = [row for row in detail if row.lead_id == args.lead]
    if not known:
        raise Stop("The delivery log knows no lead with this id.")
    confirm(
        args,
        f"Erase this lead, for good, from {plural(len(known), 'delivery', 'deliveries')} "
        f"({', '.join(sorted(row.integration for row in known))})?",
    )
    done = log.erase(args.lead, utc_now())
    say(
        f"Erased from {plural(done.deliveries, 'delivery', 'deliveries')}: its id, "
        f"{plural(done.payloads, 'payload')}, the answers to {plural(done.attempts, 'attempt')}. "
        "It will not be sent again."
    )
    if done.in_flight:
        raise Stop(
            f"{plural(done.in_flight, 'delivery is', 'deliveries are')} being sent at this moment: "
            "erase again in a minute."
        )


def _to_the_end(
    purge_step: Callable[[datetime, timedelta, int], int],
    now: datetime,
    kept: timedelta,
    done: str,
) -> int:
    """Purge all, and say meanwhile how far it is."""
    count = 0
    for count in step_by_step(lambda: purge_step(now, kept, _STEP)):
        note(f"{plural(count, 'lead')} {done} …")
    return count


def _query(args: Namespace, status: Status | None = None) -> Query:
    return Query(status=status, **{name: getattr(args, name) for name in _FILTERS})


def _chosen(args: Namespace) -> Query | list[int]:
    filtered = any(getattr(args, name) is not None for name in _FILTERS)
    if bool(args.delivery_ids) + bool(args.all or filtered) != 1:
        raise Stop(
            "Name leads by number, or choose some with filters, or all with --all.",
            WRONG_USE,
        )
    return list(args.delivery_ids) or _query(args)


def _where_they_stand(log: DeliveryLog, chosen: Query | list[int]) -> str:
    """Say what became of leads that a command left alone, and which command would send them."""
    if isinstance(chosen, Query):
        return "none of these needs it any more"
    counts = log.reader.statuses_of(chosen)
    unknown = len(set(chosen)) - sum(counts.values())
    parts = [f"{count} {status}" for status, count in sorted(counts.items())]
    said = ", ".join([*parts, *([f"{unknown} not in the delivery log"] if unknown else [])])
    if counts.keys() & WAITING:
        return f"{said}; `send-now` sends what is pending or retrying"
    if counts.keys() & {Status.ERROR, Status.DELIVERED}:
        return f"{said}; `resend` sends what is in error or delivered"
    return said


def _in_the_way(log: DeliveryLog, names: Collection[str]) -> list[str]:
    """Say of each integration that is held, paused, down or not active, and what lets leads go."""
    from zbl_provider.cli.integrations import state_of
    from zbl_provider.hooks.webhook import is_active

    said = []
    for name in sorted(names):
        state, resume = log.integration(name), f"`airflow zbl integrations resume {name}`"
        if is_active(name) is False:
            said.append(f"{name} is not active: nothing goes out before its connection says so.")
        elif state.held:
            said.append(f"{name} is {state_of(state)}: nothing goes out before {resume}.")
        elif state.down:
            said.append(
                f"{name} is {state_of(state)}. Leads that were tried go out; of the others one is "
                f"tried first, and they follow when one is delivered, or after {resume}."
            )
        elif state.paused:
            said.append(
                f"{name} is {state_of(state)}. One lead is tried first; the others follow when it "
                f"is delivered, or after {resume}."
            )
    return said


@contextmanager
def _clearing_all_the_same(
    log: DeliveryLog, runs: Collection[RunKey], *, wanted: bool
) -> Iterator[None]:
    """Clear the tasks of what is marked though a later step fails: nobody else may send it."""
    try:
        yield
    except ZblError:
        if runs:
            _clear(log, runs, wanted=wanted, at_once=False)
        raise


def _clear(log: DeliveryLog, runs: Collection[RunKey], *, wanted: bool, at_once: bool) -> None:
    from zbl_provider.cli.clearing import clear

    cleared = clear(runs) if wanted else frozenset()
    left = set(runs) - cleared
    # Whoever clears those tasks later means all of their leads in error.
    log.forget_choice(left, utc_now())
    if cleared:
        so_that = ", to send them at once" if at_once else ""
        say(f"{plural(len(cleared), 'task')} cleared{so_that}.")
    if left:
        say(
            f"{plural(len(left), 'task')} not cleared: what those owned goes out with the next "
            "task of its integration."
        )


def _line(row: Row) -> dict[str, Any]:
    """Return what fits on a line."""
    return {
        "id": row.delivery_id,
        "lead": row.lead_id,
        "integration": row.integration,
        "status": row.status.value,
        "attempts": row.attempts,
        "answer": row.last_status or row.last_kind,
        "created_at": instant(row.created_at),
        "next_attempt": instant(row.due_at),
        "reason": row.reason,
    }


def _fields(row: Row) -> dict[str, Any]:
    return {
        "id": row.delivery_id,
        "lead": row.lead_id,
        "integration": row.integration,
        "status": row.status.value,
        "reason": row.reason,
        "attempts": row.attempts,
        "resend": row.resend,
        "last_status": row.last_status,
        "last_kind": row.last_kind,
        "next_attempt": instant(row.due_at),
        "created_at": instant(row.created_at),
        "updated_at": instant(row.updated_at),
        "delivered_at": instant(row.delivered_at),
        "webhook_id": row.webhook_id,
        **row.run.as_dict(),
    }


def _attempt(attempt: Attempt) -> dict[str, Any]:
    return {
        "resend": attempt.resend,
        "number": attempt.number,
        "started_at": instant(attempt.started_at),
        "ms": attempt.duration_ms,
        "answer": attempt.status_code or attempt.kind,
        "detail": attempt.detail,
        "excerpt": attempt.excerpt,
        "run_id": attempt.run.run_id,
    }
