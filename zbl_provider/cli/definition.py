"""
What `airflow` reads of the commands, at each of its starts: names and flags.

Nothing of the provider is imported here; a command is, when it is called.
"""

from __future__ import annotations

import re
from argparse import ArgumentTypeError
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.cli.cli_config import (
    ARG_OUTPUT,
    ARG_VERBOSE,
    ARG_YES,
    ActionCommand,
    Arg,
    GroupCommand,
    lazy_load_command,
)

if TYPE_CHECKING:
    from airflow.cli.cli_config import CLICommand

_STATUSES = ("pending", "sending", "retrying", "delivered", "error", "filtered", "invalid")
_AGO = re.compile(r"(\d{1,5})([mhd])")
_FIRST, _LAST = datetime(2000, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}


def moment(text: str) -> datetime:
    """
    Read a time that a person typed.

    :param text: ``2026-03-01``, ``2026-03-01T12:30``, UTC where no zone is named; or how long ago:
        ``30m``, ``24h``, ``7d``
    :return: aware
    :raises ArgumentTypeError: it is none of these
    """
    if ago := _AGO.fullmatch(text):
        return max(datetime.now(UTC) - timedelta(**{_UNITS[ago[2]]: int(ago[1])}), _FIRST)
    try:
        moment = datetime.fromisoformat(text)
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    except ValueError:
        raise ArgumentTypeError(
            f"{text!r} is not a time: write 2026-03-01, 2026-03-01T12:30+02:00, 24h or 7d"
        ) from None
    # Beyond these two, neither Python nor a database can calculate with every moment.
    return min(max(moment, _FIRST), _LAST).astimezone(UTC)


def whole(text: str) -> int:
    """
    Read a number from 1 on.

    :raises ArgumentTypeError: it is none
    """
    if not text.isdecimal() or not 0 < (value := int(text)) < 2**63:
        raise ArgumentTypeError(f"{text!r} is not a whole number from 1 on")
    return value


def map_index(text: str) -> int:
    """
    Read the index of a mapped task's instance; -1 is one that is not mapped.

    :raises ArgumentTypeError: it is none
    """
    if text != "-1" and not (text.isdecimal() and int(text) < 2**31):
        raise ArgumentTypeError(f"{text!r} is not a map index: write -1, 0, 1, …")
    return int(text)


def _arg(*flags: str, **settings: object) -> Arg:
    make: type[Any] = Arg  # without types of its own
    made: Arg = make(flags, **settings)
    return made


_NUMBER = _arg("delivery_id", help="The lead's number, as `list` shows it", type=whole)
_NUMBERS = _arg(
    "delivery_ids",
    help="Numbers of leads in error or delivered; without any, the filters choose leads in error",
    nargs="*",
    metavar="delivery_id",
    type=whole,
)
_NUMBERS_WAITING = _arg(
    "delivery_ids",
    help="Numbers of leads that are pending or retrying; without any, the filters choose these",
    nargs="*",
    metavar="delivery_id",
    type=whole,
)
_LEAD = _arg("lead", help="The lead's own id", metavar="lead_id")
_INTEGRATION = _arg("conn_id", help="The integration: a connection of type ZBL Webhook")
_SINCE = _arg(
    "--since",
    help="Enrolled then or later: 2026-03-01T12:30, UTC where no zone is named, or 24h, 7d ago",
    type=moment,
)
_FILTERS = (
    _arg("--integration", help="Leads for this integration (a connection id)"),
    _arg("--dag-id", help="Leads of this Dag's tasks"),
    _arg("--task-id", help="Leads of this task"),
    _arg("--run-id", help="Leads of this Dag run"),
    _arg("--map-index", help="Leads of this instance of a mapped task", type=map_index),
    _SINCE,
    _arg("--until", help="Enrolled before; as --since", type=moment),
    _arg("--lead-id", help="The lead's own id"),
)
_EMAIL = _arg("--email", help="The person's email, whole; in any case")
_STATUS = _arg("--status", help="Leads with this status", choices=_STATUSES, metavar="STATUS")
_LIMIT = _arg("--limit", help="How many leads at most (50)", type=whole, default=50)
_BEFORE = _arg("--before", help="Leads with smaller numbers: the next page", type=whole)
_ALL = _arg("--all", help="All leads in error", action="store_true")
_ALL_WAITING = _arg("--all", help="All leads that wait", action="store_true")
_NO_CLEAR = _arg(
    "--no-clear",
    help="Leave the tasks alone: the integration's next task sends the leads",
    action="store_true",
)
_PREVIEWED = (
    _arg("--sql", help="The query, or the path of a .sql file; instead of a task"),
    _arg("--dag-id", help="The Dag whose task has the query"),
    _arg("--task-id", help="The task that has the query"),
    _arg(
        "--run-id",
        help="Render the task's templates for this run, or logical date; for now by default",
        dest="logical_date_or_run_id",
    ),
    _arg("--conn-id", help="Connection of the leads' database; the task's by default"),
    _arg("--integration", help="Connection of the integration; the task's by default"),
    _arg("--parameters", help="Values to bind, as JSON: an object or an array"),
    _arg("--field-map", help='Columns that are other fields, as JSON: {"mobile": "phone"}'),
    _arg("--limit", help="How many rows at most (10)", type=whole, default=10),
)
_FORMAT = _arg(
    "--output", help="text (the default) or json", choices=("text", "json"), default="text"
)
_PERIOD = _arg(
    "--since",
    help="Count leads enrolled, and attempts made, since then (7d)",
    type=moment,
    default="7d",
)

_CHECK = ActionCommand(
    name="check",
    help="Look at the set-up, and say what to fix",
    description=(
        "Look at the delivery log, keys, networks, the page, permissions, clocks and "
        "integrations; change and send nothing. Prints a line for each finding, with its remedy. "
        "Exits with 1 if there is an error."
    ),
    func=lazy_load_command("zbl_provider.cli.check.check"),
    args=(_FORMAT, ARG_VERBOSE),
)
_DELIVERIES = GroupCommand(
    name="deliveries",
    help="What became of each lead",
    subcommands=(
        ActionCommand(
            name="list",
            help="List leads, the newest first",
            func=lazy_load_command("zbl_provider.cli.deliveries.list_deliveries"),
            args=(_STATUS, *_FILTERS, _EMAIL, _LIMIT, _BEFORE, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="show",
            help="Show one lead with its attempts",
            func=lazy_load_command("zbl_provider.cli.deliveries.show"),
            args=(_NUMBER, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="resend",
            help="Send leads again",
            description=(
                "Give leads a new set of attempts, and clear the tasks that own them, so that "
                "they are sent at once. Name leads by number, or those in error by filters."
            ),
            func=lazy_load_command("zbl_provider.cli.deliveries.resend"),
            args=(_NUMBERS, _ALL, *_FILTERS, _NO_CLEAR, ARG_YES, ARG_VERBOSE),
        ),
        ActionCommand(
            name="send-now",
            help="Send leads that wait for their next attempt",
            description=(
                "Have leads that are pending or retrying be due at once, and clear the tasks "
                "that wait for them. Attempts that were made count. Name leads by number, or "
                "those that wait by filters."
            ),
            func=lazy_load_command("zbl_provider.cli.deliveries.send_now"),
            args=(_NUMBERS_WAITING, _ALL_WAITING, *_FILTERS, _NO_CLEAR, ARG_YES, ARG_VERBOSE),
        ),
        ActionCommand(
            name="purge",
            help="Remove personal data and rows that need not be kept any longer",
            description=(
                "Do at once, and to the end, what each task does in small steps: clear what "
                "[zbl] payload_retention_days and log_retention_days no longer keep."
            ),
            func=lazy_load_command("zbl_provider.cli.deliveries.purge"),
            args=(ARG_YES, ARG_VERBOSE),
        ),
        ActionCommand(
            name="erase",
            help="Forget a person on request, at all integrations",
            func=lazy_load_command("zbl_provider.cli.deliveries.erase"),
            args=(_LEAD, ARG_YES, ARG_VERBOSE),
        ),
    ),
)
_INTEGRATIONS = GroupCommand(
    name="integrations",
    help="Where leads are sent",
    subcommands=(
        ActionCommand(
            name="list",
            help="List integrations: held or not, their leads by status, their answer times",
            func=lazy_load_command("zbl_provider.cli.integrations.list_integrations"),
            args=(_PERIOD, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="show",
            help="Show how a connection is understood, without its secrets; send nothing",
            func=lazy_load_command("zbl_provider.cli.integrations.show_integration"),
            args=(_INTEGRATION, ARG_OUTPUT, ARG_VERBOSE),
        ),
        ActionCommand(
            name="test",
            help="Send one test lead, as the connection's Test button does",
            func=lazy_load_command("zbl_provider.cli.integrations.test"),
            args=(_INTEGRATION, ARG_VERBOSE),
        ),
        ActionCommand(
            name="hold",
            help="Record an integration's leads, but send none until it is resumed",
            func=lazy_load_command("zbl_provider.cli.integrations.hold"),
            args=(_INTEGRATION, ARG_YES, ARG_VERBOSE),
        ),
        ActionCommand(
            name="resume",
            help="Let an integration's next run send what was held",
            func=lazy_load_command("zbl_provider.cli.integrations.resume"),
            args=(_INTEGRATION, ARG_YES, ARG_VERBOSE),
        ),
    ),
)
_LOG = GroupCommand(
    name="log",
    help="The delivery log's database",
    subcommands=(
        ActionCommand(
            name="upgrade",
            help="Create its tables, or bring them to this version; each task does so, too",
            func=lazy_load_command("zbl_provider.cli.upkeep.upgrade"),
            args=(ARG_VERBOSE,),
        ),
        ActionCommand(
            name="rotate-keys",
            help="Encrypt what is stored in it with Airflow's present Fernet key",
            func=lazy_load_command("zbl_provider.cli.upkeep.rotate_keys"),
            args=(ARG_YES, ARG_VERBOSE),
        ),
    ),
)
_PREVIEW = ActionCommand(
    name="preview",
    help="Show what a query would send, row by row; send and record nothing",
    description=(
        "Show each row's payload, or why it is filtered or invalid, and where each column "
        "goes. Give --sql with --conn-id and --integration, or --dag-id and --task-id. What "
        "is shown is personal data."
    ),
    func=lazy_load_command("zbl_provider.cli.preview.preview"),
    args=(*_PREVIEWED, ARG_OUTPUT, ARG_VERBOSE),
)


def get_zbl_cli_commands() -> list[CLICommand]:
    """Return the commands of the provider; Airflow adds them to its own."""
    return [
        GroupCommand(
            name="zbl",
            help="Leads and their deliveries (Zero Bad Leads)",
            subcommands=(_DELIVERIES, _INTEGRATIONS, _LOG, _PREVIEW, _CHECK),
        )
    ]
