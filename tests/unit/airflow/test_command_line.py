"""What `airflow zbl …` reads of its words, and how it prints (Contract 8.4)."""

import argparse
import io
import json
import subprocess
import sys
from argparse import ArgumentTypeError, Namespace
from datetime import UTC, datetime, timedelta

import pytest
from airflow.cli import cli_parser
from airflow.cli.cli_config import GroupCommand
from sqlalchemy.exc import OperationalError

from zbl_provider.cli import definition, shell
from zbl_provider.exceptions import DeliveryLogError
from zbl_provider.log.model import Status

COMMANDS = {
    "deliveries": {"list", "show", "resend", "send-now", "purge", "erase"},
    "integrations": {"list", "show", "test", "hold", "resume"},
    "log": {"upgrade", "rotate-keys"},
}


@pytest.fixture(scope="module")
def parser():
    parser = argparse.ArgumentParser(prog="airflow")
    [zbl] = definition.get_zbl_cli_commands()
    cli_parser._add_command(parser.add_subparsers(), zbl)
    return parser


def parse(parser, line):
    return parser.parse_args(["zbl", *line.split()])


def test_airflow_has_the_commands():
    """Each command of the contract is there, and Airflow's own parser takes them (8.4)."""
    [zbl] = definition.get_zbl_cli_commands()
    groups = [entry for entry in zbl.subcommands if isinstance(entry, GroupCommand)]
    assert {
        group.name: {command.name for command in group.subcommands} for group in groups
    } == COMMANDS
    assert {entry.name for entry in zbl.subcommands} == {*COMMANDS, "preview", "check"}
    assert "zbl" in cli_parser.ALL_COMMANDS_DICT


def test_every_command_can_be_called():
    """What a command's name stands for is there (8.4)."""
    [zbl] = definition.get_zbl_cli_commands()
    for entry in zbl.subcommands:
        for command in getattr(entry, "subcommands", (entry,)):
            with pytest.raises(ValueError, match="Namespace"):
                command.func(None)  # loads the function, which asks for its arguments


def test_naming_the_commands_loads_none_of_them():
    """At each `airflow` command only names and flags are loaded (8.4)."""
    program = (
        "import sys, airflow.cli.cli_config; before = set(sys.modules); "
        "import zbl_provider.cli.definition as d; d.get_zbl_cli_commands(); "
        "print(*sorted(set(sys.modules) - before))"
    )
    run = [sys.executable, "-c", program]
    output = subprocess.run(run, check=True, capture_output=True, text=True).stdout
    # Before it may stand what Airflow logs of its own imports: on Python 3.14, deprecations.
    loaded = output.splitlines()[-1].split()
    assert {name for name in loaded if not name.startswith("zbl_provider.cli")} <= {"zbl_provider"}


def test_statuses_are_those_of_the_log():
    """`--status` takes every status, and no other word (6.3)."""
    assert set(definition._STATUSES) == {status.value for status in Status}


def test_filters_are_flags(parser):
    """Each filter of the page is a flag (8.4)."""
    args = parse(
        parser,
        "deliveries list --status error --integration zapier --dag-id d --task-id t --run-id r "
        "--map-index 3 --since 2026-03-01 --until 2026-03-02T01:00+01:00 --lead-id 7 --limit 9",
    )
    assert (args.status, args.integration, args.dag_id) == ("error", "zapier", "d")
    numbers = (args.map_index, args.limit)
    assert (args.task_id, args.run_id, args.lead_id, *numbers) == ("t", "r", "7", 3, 9)
    assert args.since == datetime(2026, 3, 1, tzinfo=UTC)
    assert args.until == datetime(2026, 3, 2, tzinfo=UTC)
    assert args.output == "table"


@pytest.mark.parametrize(
    "line",
    [
        "deliveries list --status lost",
        "deliveries list --since yesterday",
        "deliveries list --limit 0",
        "deliveries list --map-index 99999999999",
        "deliveries list --map-index -2",
        "deliveries list --output csv",
        "deliveries show",
        "deliveries show -1",
        "deliveries resend 99999999999999999999",
        "integrations hold",
        "nothing",
    ],
)
def test_wrong_use_ends_with_2(parser, line, capsys):
    """A script that calls a command the wrong way learns it by exit code 2 (8.4)."""
    with pytest.raises(SystemExit) as end:
        parse(parser, line)
    assert end.value.code == 2


@pytest.mark.parametrize(("text", "ago"), [("30m", 30), ("24h", 24 * 60), ("7d", 7 * 24 * 60)])
def test_a_time_may_be_so_long_ago(text, ago):
    """A period is typed as people say it (8.4)."""
    difference = datetime.now(UTC) - definition.moment(text) - timedelta(minutes=ago)
    assert abs(difference) < timedelta(minutes=1)


@pytest.mark.parametrize(
    "text", ["0001-01-01T00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01", "99999d"]
)
def test_a_time_beyond_all_leads_is_one_that_can_be_asked_for(text):
    """Whatever year is typed, no database and no clock stumbles over it (8.4)."""
    moment = definition.moment(text)
    assert moment.tzinfo is UTC
    assert 2000 <= moment.year <= 2200


@pytest.mark.parametrize("text", ["", "7", "7w", "-7d", "2026-13-01", "999999d"])
def test_what_is_no_time_is_refused(text):
    """A period that cannot be read is refused, with an example of one that can (8.4)."""
    with pytest.raises(ArgumentTypeError, match="24h or 7d"):
        definition.moment(text)


def run(problem):
    @shell.command(recorded=False)
    def fail(_args):
        raise problem

    with pytest.raises(SystemExit) as end:
        fail(Namespace(verbose=False))
    return end.value.code


@pytest.mark.parametrize(
    ("problem", "code", "line"),
    [
        (shell.Stop("There is none."), 1, "There is none.\n"),
        (shell.Stop("Say which.", shell.WRONG_USE), 2, "Say which.\n"),
        (DeliveryLogError(field="f", problem="p", remedy="r"), 1, "f: p. r\n"),
        (
            OperationalError("SELECT 'ana@example.com'", {}, Exception("ana@example.com")),
            1,
            "the database failed: OperationalError\n",
        ),
        (KeyboardInterrupt(), 1, "Interrupted.\n"),
    ],
)
def test_an_error_is_one_line(problem, code, line, capsys):
    """An error ends a command with one line that says what to do, and no traceback (8.4, 1.5)."""
    assert run(problem) == code
    assert capsys.readouterr().err == line


@pytest.mark.parametrize(("typed", "goes_on"), [("y\n", True), ("YES\n", True), ("\n", False)])
def test_what_changes_things_asks_first(typed, goes_on, monkeypatch):
    """Nothing is changed unless the person says yes (8.4)."""
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    if goes_on:
        shell.confirm(Namespace(yes=False), "Sure?")
    else:
        with pytest.raises(shell.Stop, match="Nothing was changed"):
            shell.confirm(Namespace(yes=False), "Sure?")


def test_a_script_says_yes_in_advance(monkeypatch):
    """With --yes nobody is asked; without it and without a person the command ends with 2 (8.4)."""
    monkeypatch.setattr("sys.stdin", io.StringIO())
    shell.confirm(Namespace(yes=True), "Sure?")
    with pytest.raises(shell.Stop, match="add --yes") as end:
        shell.confirm(Namespace(yes=False), "Sure?")
    assert end.value.code == shell.WRONG_USE


HOSTILE = "[red]\x1b[2Jgone[/nothing]\nnext"


@pytest.mark.parametrize("output", ["table", "plain"])
def test_what_is_shown_cannot_act_on_the_terminal(output, capsys):
    """Markup and control characters of others are shown as text (7.3)."""
    shell.show([{"reason": HOSTILE, "none": None}], output)
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert "[red]�[2Jgone[/nothing] next" in shown


def test_json_is_whole(capsys):
    """Machine-readable output has every character, escaped (8.4)."""
    shell.show([{"reason": HOSTILE, "none": None}], "json")
    assert json.loads(capsys.readouterr().out) == [{"reason": HOSTILE, "none": None}]
