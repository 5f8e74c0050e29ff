"""`airflow zbl …` called as Airflow calls it, without its audit log, which needs a database."""

from __future__ import annotations

from argparse import ArgumentParser
from typing import TYPE_CHECKING

import pytest
from airflow.cli import cli_parser

from zbl_provider.cli import definition

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def call(function: Callable[..., object], words: Sequence[str], *, code: int = 0) -> None:
    """
    Run a command.

    :param function: what the definition of the command loads
    :param words: what is typed after `airflow zbl`
    :param code: the exit code that it must end with
    """
    parser = ArgumentParser(prog="airflow")
    [group] = definition.get_zbl_cli_commands()
    cli_parser._add_command(parser.add_subparsers(), group)
    arguments = parser.parse_args(["zbl", *words])
    while hasattr(function, "__wrapped__") and hasattr(function.__wrapped__, "__wrapped__"):
        function = function.__wrapped__
    if code:
        with pytest.raises(SystemExit) as end:
            function(arguments)
        assert end.value.code == code
    else:
        function(arguments)
