"""`airflow zbl preview`: what a query would send to an integration; nothing is sent (8.9)."""

from __future__ import annotations

import json
from contextlib import closing
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.cli.simple_table import AirflowConsole

from zbl_provider.cli.shell import WRONG_USE, Stop, command, note, plural, show
from zbl_provider.dispatch.dispatcher import utc_now
from zbl_provider.hooks.leads_query import LeadsQuery
from zbl_provider.log.model import Status

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Sequence

    from zbl_provider.delivery.destination import Destination

_OUTCOMES = {Status.PENDING: "sent", Status.FILTERED: "filtered", Status.INVALID: "invalid"}


@command(recorded=False)
def preview(args: Namespace) -> None:
    """Show what a query's rows would become, and send and record nothing (Contract 8.9)."""
    from zbl_provider.hooks.webhook import WebhookHook
    from zbl_provider.leads.lead import places_of

    query = _query(args)
    destination = WebhookHook(query.webhook_conn_id).without_login
    columns: list[str] = []
    leads = _judged(query, destination, columns, args.limit)
    places = [
        {"column": name, "goes_to": place}
        for name, place in places_of(columns, query.field_map).items()
    ]
    if args.output == "json":
        AirflowConsole().print_as_json({"columns": places, "rows": leads})
    elif args.output == "yaml":
        AirflowConsole().print_as_yaml({"columns": places, "rows": leads})
    else:
        show(places, args.output)
        lines = [
            lead | {"payload": lead["payload"] and json.dumps(lead["payload"], ensure_ascii=False)}
            for lead in leads
        ]
        show(lines, args.output)
    note(_summary(leads, query.webhook_conn_id))
    if not destination.active:
        note(f"{query.webhook_conn_id} is held: its leads are recorded, and not sent until then.")


def _query(args: Namespace) -> LeadsQuery:
    if args.dag_id or args.task_id:
        if args.sql or not (args.dag_id and args.task_id):
            raise Stop("Give --sql, or --dag-id and --task-id.", WRONG_USE)
        query = _query_of_task(args)
    else:
        if not (args.sql and args.conn_id and args.integration):
            raise Stop("Give --sql, --conn-id and --integration, or a Dag's task.", WRONG_USE)
        sql = args.sql
        if sql.endswith(".sql"):
            sql = _file(sql)
        query = LeadsQuery(sql=sql, leads_conn_id=args.conn_id, webhook_conn_id=args.integration)
    given = {
        "leads_conn_id": args.conn_id,
        "webhook_conn_id": args.integration,
        "parameters": _json("parameters", args.parameters, list, dict),
        "field_map": _json("field-map", args.field_map, dict),
    }
    return replace(query, **{name: value for name, value in given.items() if value is not None})


def _file(name: str) -> str:
    try:
        return Path(name).read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise Stop(f"--sql: {name} is not text in UTF-8.", WRONG_USE) from None
    except OSError as problem:
        raise Stop(f"--sql: {name} cannot be read: {problem.strerror}.", WRONG_USE) from None


def _json(flag: str, text: str | None, *kinds: type) -> Any:  # noqa: ANN401  whatever JSON holds
    if not text:
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise Stop(f"--{flag} is not JSON.", WRONG_USE) from None
    if not isinstance(value, kinds):
        raise Stop(
            f"--{flag} is not a JSON {'array or ' if list in kinds else ''}object.", WRONG_USE
        )
    return value


def _query_of_task(args: Namespace) -> LeadsQuery:
    """Render a task as `airflow tasks render` does."""
    from airflow.cli.commands.task_command import _get_template_context, _get_ti
    from airflow.utils.cli import get_bagged_dag, get_db_dag

    task = get_bagged_dag(None, args.dag_id).get_task(args.task_id)
    if task.get_needs_expansion():
        raise Stop("A mapped task has a query for each instance: give one with --sql.", WRONG_USE)
    stored = get_db_dag(None, args.dag_id).get_task(args.task_id)
    instance, _ = _get_ti(
        stored,
        -1,
        logical_date_or_run_id=args.logical_date_or_run_id or utc_now().isoformat(),
        create_if_necessary="memory",
    )
    task.render_template_fields(_get_template_context(instance, task))
    try:
        return LeadsQuery.of(task)
    except AttributeError:
        raise Stop(f"{args.task_id} has no query of leads: name a task that has one.") from None


def _judged(
    query: LeadsQuery, destination: Destination, columns: list[str], limit: int
) -> list[dict[str, Any]]:
    """
    Judge rows as a dispatch would; of those with one id the first that passes counts (4.8).

    :param columns: filled with the names of the columns
    :param limit: how many rows
    """
    from zbl_provider.dispatch.intake import candidate

    counts: dict[str, dict[str, Any]] = {}
    rows: list[dict[str, Any]] = []
    with closing(query.leads(on_columns=columns.extend)) as leads:
        for row, lead in enumerate(islice(leads, limit), start=1):
            judged = candidate(lead, destination)
            line = {
                "row": row,
                "lead": judged.lead_id,
                "outcome": _OUTCOMES[judged.status],
                "reason": judged.reason,
                "payload": json.loads(judged.body) if judged.body else None,
            }
            rows.append(line)
            before = counts.setdefault(judged.lead_id, line)
            if judged.status is Status.PENDING and before["outcome"] != "sent":
                counts[judged.lead_id] = line
    for line in rows:
        if (counting := counts[line["lead"]]) is not line:
            alone = f"; alone it is {line['outcome']}: {line['reason']}" if line["reason"] else ""
            line["reason"] = f"row {counting['row']} has this id, and counts{alone}"
            line["outcome"] = "repeated"
    return rows


def _summary(leads: Sequence[dict[str, Any]], integration: str) -> str:
    outcomes = [lead["outcome"] for lead in leads]
    counts = ", ".join(f"{outcomes.count(name)} {name}" for name in dict.fromkeys(outcomes))
    return (
        f"{plural(len(leads), 'row')} for {integration}: {counts or 'none'}. Nothing was sent, and "
        "nothing recorded; a lead that was delivered before is not sent again."
    )
