"""What all commands share: the log, tables, questions, and an end that scripts can read."""

from __future__ import annotations

import os
import sys
from functools import wraps
from typing import TYPE_CHECKING, Any, Final, NoReturn, TypeAlias

from airflow.cli.simple_table import AirflowConsole
from airflow.sdk.exceptions import AirflowException
from airflow.utils.cli import action_cli, suppress_logs_and_warning
from airflow.utils.providers_configuration_loader import providers_configuration_loaded
from rich.markup import escape
from sqlalchemy.exc import SQLAlchemyError

from zbl_provider.exceptions import ZblError

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from zbl_provider.log.store import DeliveryLog

_Command: TypeAlias = "Callable[[Namespace], None]"

FAILED: Final = 1
"""Exit code of a command that did not do, or did not find, what it was asked for."""

WRONG_USE: Final = 2
"""Exit code of a command that was called the wrong way, as argparse has it."""


class Stop(Exception):  # noqa: N818  an end, not a defect
    """
    Ends a command with one line.

    :param message: what is wrong, and what to do
    :param code: the exit code
    """

    def __init__(self, message: str, code: int = FAILED) -> None:
        super().__init__(message)
        self.code = code


def command(*, recorded: bool) -> Callable[[_Command], _Command]:
    """
    Make a command of a function: errors end it with one line, and no traceback.

    :param recorded: it is written down in Airflow's audit log, with its whole command line
    """

    def make(function: _Command) -> _Command:
        @wraps(function)
        def run(args: Namespace) -> None:
            # As `airflow connections test` does: connections are in the metadata database, too.
            os.environ.setdefault("_AIRFLOW_PROCESS_CONTEXT", "server")
            try:
                function(args)
            except (Stop, ZblError, AirflowException) as problem:
                _end(str(problem), getattr(problem, "code", FAILED))
            except SQLAlchemyError as problem:
                # Its text may quote a statement, and that a row.
                _end(f"the database failed: {type(problem).__name__}", FAILED)
            except KeyboardInterrupt:
                _end("Interrupted.", FAILED)

        record: Any = action_cli  # without types of its own
        quiet = suppress_logs_and_warning(providers_configuration_loaded(run))
        return record(quiet) if recorded else quiet

    return make


def the_log() -> DeliveryLog:
    """Open the delivery log that the settings name, as every task does."""
    from zbl_provider.hooks.delivery_log import delivery_log

    return delivery_log()


def confirm(args: Namespace, question: str) -> None:
    """
    Go on only if the person means it.

    :param args: ``--yes`` says so in advance
    :param question: says what is going to happen, and to how many
    :raises Stop: no; or there is nobody to ask
    """
    if args.yes:
        return
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    answer = sys.stdin.readline()
    if not answer:
        raise Stop("Nobody is there to answer: add --yes.", WRONG_USE)
    if answer.strip().lower() not in {"y", "yes"}:
        raise Stop("Nothing was changed.")


def say(text: str) -> None:
    """Print what was done."""
    print(_visible(text))


def note(text: str) -> None:
    """Print what is not the result itself, where it is in nobody's way."""
    print(_visible(text), file=sys.stderr, flush=True)


def show(rows: Sequence[Mapping[str, object]], output: str) -> None:
    """
    Print rows as Airflow's own commands do.

    :param rows: with the same keys in all
    :param output: table, plain, json or yaml
    """
    data: list[dict[str, object]] = [dict(row) for row in rows]
    if output in {"table", "plain"}:
        for row in data:
            for name, value in row.items():
                text = "" if value is None else _visible(str(value)).replace("\n", " ")
                row[name] = escape(text) if output == "table" else text
    AirflowConsole().print_as(data=data, output=output)


def instant(moment: datetime | None) -> str | None:
    """Return a moment as the payload has it: UTC, whole seconds."""
    return None if moment is None else f"{moment:%Y-%m-%dT%H:%M:%SZ}"


def plural(count: int, singular: str, several: str | None = None) -> str:
    """Return a count with its noun."""
    return f"{count:,} {singular if count == 1 else several or singular + 's'}"


def _visible(text: str) -> str:
    """Return text that cannot move the cursor, or colour the terminal, of whoever reads it."""
    return "".join(c if c.isprintable() or c == "\n" else "\N{REPLACEMENT CHARACTER}" for c in text)


def _end(message: str, code: int) -> NoReturn:
    note(message)
    raise SystemExit(code)
