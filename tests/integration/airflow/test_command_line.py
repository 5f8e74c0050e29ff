"""`airflow zbl …` on a real log, as a script sees it: output, questions, exit codes (8.4)."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from tests.integration.log.setup import NOON, ZAPIER, Setup, delivered, failed, lead
from tests.support.command_line import call
from tests.support.commands import ROOT
from tests.support.databases import log_url, postgres
from zbl_provider.cli import deliveries, integrations, shell, upkeep
from zbl_provider.cli.definition import get_zbl_cli_commands
from zbl_provider.exceptions import DeliveryLogUnavailable
from zbl_provider.leads.payload import webhook_id
from zbl_provider.log.model import Candidate, RunKey, Status
from zbl_provider.log.store import DeliveryLog

__all__ = ["log_url", "postgres"]

FUNCTIONS = {
    ("deliveries", "list"): deliveries.list_deliveries,
    ("deliveries", "show"): deliveries.show,
    ("deliveries", "resend"): deliveries.resend,
    ("deliveries", "send-now"): deliveries.send_now,
    ("deliveries", "purge"): deliveries.purge,
    ("deliveries", "erase"): deliveries.erase,
    ("integrations", "list"): integrations.list_integrations,
    ("integrations", "show"): integrations.show_integration,
    ("integrations", "hold"): integrations.hold,
    ("integrations", "resume"): integrations.resume,
    ("log", "upgrade"): upkeep.upgrade,
    ("log", "rotate-keys"): upkeep.rotate_keys,
}


def candidate(name: str) -> Candidate:
    email = f"{name}@x.com"
    body = f'["{email}"]'.encode() if name != "a" else b"{}"
    return Candidate(webhook_id(ZAPIER, name), name, Status.PENDING, None, body, "f", email)


@pytest.fixture
def setup(log_url, monkeypatch):
    log = DeliveryLog(log_url)
    setup = Setup(log)
    run = setup.run()
    setup.deliver(run, candidate("done"))
    setup.fail(run, candidate("a"), candidate("b"))
    monkeypatch.setattr(shell, "the_log", lambda: log)
    monkeypatch.setattr(upkeep, "the_log", lambda: log)
    monkeypatch.setattr(integrations, "the_log", lambda: log)
    yield setup
    log.close()


@pytest.fixture
def cleared(monkeypatch):
    """Stand in for Airflow's metadata database: note what is cleared, and clear it."""
    asked = []

    def clear(keys):
        asked.extend(keys)
        return frozenset(keys)

    from zbl_provider.cli import clearing

    monkeypatch.setattr(clearing, "clear", clear)
    return asked


@pytest.fixture
def zbl(setup, capsys, monkeypatch):
    """Call a command as Airflow does; what it says is returned."""

    def typed_at(line, *, code=0, typed=""):
        words = line.split()
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        call(FUNCTIONS[tuple(words[:2])], words, code=code)
        return capsys.readouterr()

    return typed_at


def statuses(setup):
    return {row.lead_id: str(row.status) for row in setup.rows()}


def test_leads_are_listed_in_pages(zbl):
    """A list has a limit, and says how to go on (8.4)."""
    first = zbl("deliveries list --limit 2 -o json")
    assert [row["lead"] for row in json.loads(first.out)] == ["b", "a"]
    assert "--before 2" in first.err
    second = zbl("deliveries list --before 2 -o json")
    assert [row["lead"] for row in json.loads(second.out)] == ["done"]
    assert second.err == ""


@pytest.mark.parametrize(
    ("filters", "lead_ids"),
    [
        ("--status error", ["b", "a"]),
        ("--lead-id done", ["done"]),
        ("--email DONE@X.com", ["done"]),
        ("--email b@x.com --status error", ["b"]),
        ("--email b@x.com --status delivered", []),
        ("--email nobody@x.com", []),
        ("--integration make", []),
        ("--dag-id dag --task-id task --run-id run --map-index -1", ["b", "a", "done"]),
        ("--since 2026-03-02", []),
        ("--until 2026-03-02", ["b", "a", "done"]),
    ],
)
def test_filters_choose(zbl, filters, lead_ids):
    """Each flag is the filter that it says (8.4)."""
    rows = json.loads(zbl(f"deliveries list {filters} -o json").out)
    assert [row["lead"] for row in rows] == lead_ids


def test_one_lead_is_shown_with_its_attempts(zbl):
    """A lead is shown with what became of each attempt; its payload is not (8.4)."""
    [shown] = json.loads(zbl("deliveries show 1 -o json").out)
    assert (shown["lead"], shown["status"], shown["dag_id"]) == ("done", "delivered", "dag")
    [attempt] = shown["attempt_log"]
    assert (attempt["answer"], attempt["excerpt"], attempt["ms"]) == ("200", "thanks", "250")
    assert "payload" not in shown
    table = zbl("deliveries show 2").out
    assert "no answer in 10 s" in table
    assert "timeout" in table
    assert "no lead with the number 9" in zbl("deliveries show 9", code=1).err


def test_the_guides_tables_have_the_columns_that_are_printed(zbl):
    """Who reads docs/command-line.md knows what a command will show (8.4)."""
    guide = (ROOT / "docs/command-line.md").read_text().splitlines()
    shown = {tuple(re.findall(r"\w+", line)) for line in guide}
    for command in "deliveries list", "deliveries show 2", "integrations list":
        printed = pairwise(zbl(command).out.splitlines())
        headers = [line for line, below in printed if re.fullmatch(r"[=+]+", below)]
        assert headers
        assert [line for line in headers if tuple(re.findall(r"\w+", line)) not in shown] == []


def test_a_resend_asks_first(zbl, setup, cleared):
    """The count is told before anything happens, and no is no (8.4)."""
    asked = zbl("deliveries resend --all", typed="n\n", code=1)
    assert "Send 2 leads again?" in asked.err
    assert statuses(setup) == {"done": "delivered", "a": "error", "b": "error"}
    assert "2 leads will be sent again" in zbl("deliveries resend --all", typed="y\n").out
    assert statuses(setup) == {"done": "delivered", "a": "pending", "b": "pending"}
    assert cleared == [RunKey("dag", "task", "run")]


def test_chosen_leads_are_resent_by_the_clear_of_their_task(zbl, setup, cleared):
    """Leads named by number are marked, and their task cleared for just those (8.4)."""
    said = zbl("deliveries resend 1 2 --yes").out
    assert "2 leads will be sent again" in said
    assert "1 task cleared" in said
    assert statuses(setup)["b"] == "error"
    assert setup.run(epoch=1).chosen


def test_a_task_that_cannot_be_cleared_forgets_the_choice(zbl, setup, monkeypatch):
    """Without its clear the next run sends the lead, and a later clear is ordinary (4.6)."""
    monkeypatch.setattr("zbl_provider.cli.clearing.clear", lambda _: frozenset())
    assert "next task" in zbl("deliveries resend 2 --yes").out
    assert not setup.run(epoch=1).chosen


def test_tasks_may_be_left_alone(zbl, setup, cleared):
    """With --no-clear nothing is cleared (8.4)."""
    assert "1 task not cleared" in zbl("deliveries resend --lead-id a --no-clear --yes").out
    assert cleared == []
    assert statuses(setup) == {"done": "delivered", "a": "pending", "b": "error"}


@pytest.mark.parametrize("words", ["", "1 --all", "1 --integration zapier", "--all --yes 1"])
def test_a_resend_must_say_which(zbl, words):
    """Neither nothing, nor two things at once: exit code 2, and nothing is changed (8.4)."""
    assert "by number" in zbl(f"deliveries resend {words}", code=2).err


def test_nothing_to_resend_is_said(zbl, setup, cleared):
    """An empty choice by filter is no failure; numbers that cannot be sent are one (8.4)."""
    assert "nothing to send" in zbl("deliveries resend --integration make --yes").out
    setup.log.purge_payloads(setup.now + timedelta(days=1), timedelta(0))
    assert "cannot be sent again" in zbl("deliveries resend 1 --yes", code=1).err


def test_a_resend_says_where_the_leads_stand_that_it_left(zbl, setup, cleared):
    """What waits is not in error: the answer names it, and the command that sends it (4.11)."""
    waits(setup)
    said = zbl("deliveries resend 4 99 --yes", code=1).err
    assert "1 retrying, 1 not in the delivery log" in said
    assert "`send-now`" in said


def test_waiting_leads_are_sent_now(zbl, setup, cleared):
    """They are due at once, and the task that waits for them is cleared (3.5)."""
    waits(setup)
    asked = zbl("deliveries send-now --all", typed="n\n", code=1)
    assert "Send 1 lead now?" in asked.err
    said = zbl("deliveries send-now --integration zapier --yes").out
    assert "1 lead will be sent now" in said
    assert "1 task cleared" in said
    assert cleared == [RunKey("dag", "task", "run")]
    assert setup.row("c").due_at < datetime.now(UTC)


@pytest.mark.parametrize("command", ["resend", "send-now"])
def test_what_is_marked_is_sent_though_the_log_is_away_then(
    zbl, setup, cleared, monkeypatch, command
):
    """Of very many leads a later step may fail: the tasks of the earlier ones are cleared (8.4)."""
    for lead_id in "cd":
        waits(setup, lead_id)
    monkeypatch.setattr(deliveries, "_STEP", 1)
    name = command.replace("-", "_")
    step, steps = getattr(setup.log, name), []

    def one_step(*args, **options):
        if steps:
            raise DeliveryLogUnavailable("the log", "it is locked")
        steps.append(step(*args, **options))
        return steps[0]

    monkeypatch.setattr(setup.log, name, one_step)
    said = zbl(f"deliveries {command} --all --yes", code=1)
    assert "it is locked" in said.err
    assert (said.out, cleared) == ("1 task cleared.\n", [RunKey("dag", "task", "run")])


@pytest.mark.parametrize(
    ("keep_back", "says"),
    [
        (("hold", "ana"), ["zapier is held by ana since", "nothing goes out before `airflow zbl"]),
        (
            ("pause", 401),
            ["zapier is paused since", "One lead is tried first", "or after `airflow"],
        ),
        (("outage", "answered 503"), ["down since", "answered 503. Leads that were tried go out"]),
    ],
)
def test_what_stands_in_the_way_is_said(zbl, setup, cleared, keep_back, says):
    """Held, paused or down: since when, by what, and what lets the leads go (3.5, 8.4)."""
    waits(setup)
    setup.later(hours=1)
    kind, what = keep_back
    if kind == "outage":
        setup.log.begin_outage("zapier", setup.now, what, setup.now)
    else:
        getattr(setup.log, kind)("zapier", what, setup.now)
    now = zbl("deliveries send-now --all --yes").out
    again = zbl("deliveries resend --all --yes").out
    assert "1 lead is due now; the attempts that were made count." in now
    assert "2 leads will be sent again." in again
    for said in (now, again):
        assert all(words in said for words in says), said
        assert "`airflow zbl integrations resume zapier`." in said
        assert "1 task cleared.\n" in said


def test_a_connection_that_is_not_active_is_named(zbl, setup, cleared, monkeypatch):
    """Nothing goes out before it is active again, so it is not said that it does (3.5, 1.2)."""
    connection = {"conn_type": "zbl_webhook", "host": "https://x.org", "extra": {"active": False}}
    monkeypatch.setenv("AIRFLOW_CONN_ZAPIER", json.dumps(connection))
    waits(setup)
    said = zbl("deliveries send-now --all --yes").out
    assert "1 lead is due now" in said
    assert "zapier is not active: nothing goes out before its connection says so." in said


def test_what_does_not_wait_cannot_be_sent_now(zbl, setup, cleared):
    """The answer says where it stands, and which command sends it again (3.5)."""
    assert "No lead waits" in zbl("deliveries send-now --all --yes").out
    said = zbl("deliveries send-now 2 --yes", code=1).err
    assert "1 error" in said
    assert "`resend`" in said


def waits(setup, lead_id="c"):
    """Have a lead wait for its next attempt, for ever as this test's clock goes."""
    run = setup.run()
    setup.enrol(run, lead(lead_id))
    later = datetime.now(UTC) + timedelta(days=1)
    setup.settle(run, setup.claim(run), failed(), later)


def test_a_purge_ends_when_nothing_is_left(zbl, setup, monkeypatch):
    """All whose time is over goes, however many steps it takes, and nothing else (6.4)."""
    monkeypatch.setattr(deliveries, "_STEP", 1)
    monkeypatch.setattr(deliveries, "utc_now", lambda: NOON + timedelta(days=31))
    assert "data of 1 lead, and deleted 0 old leads" in zbl("deliveries purge --yes").out
    assert len(setup.rows()) == 3
    monkeypatch.setattr(deliveries, "utc_now", lambda: NOON + timedelta(days=366))
    assert "deleted 3 old leads" in zbl("deliveries purge --yes").out
    assert setup.rows() == []


def test_a_purge_keeps_rows_where_the_option_is_0(zbl, setup, monkeypatch):
    """`log_retention_days = 0` keeps every row, for the command, too (6.4)."""
    monkeypatch.setenv("AIRFLOW__ZBL__LOG_RETENTION_DAYS", "0")
    monkeypatch.setattr(deliveries, "utc_now", lambda: NOON + timedelta(days=3660))
    asked = zbl("deliveries purge", typed="y\n")
    assert "delete leads" not in asked.err
    assert len(setup.rows()) == 3


def test_a_purge_by_a_wrong_setting_deletes_nothing(zbl, setup, monkeypatch):
    """-1 is no number of days: taken for one, it would delete what it is to keep (6.4)."""
    monkeypatch.setenv("AIRFLOW__ZBL__LOG_RETENTION_DAYS", "-1")
    assert "log_retention_days" in zbl("deliveries purge --yes", code=1).err
    assert len(setup.rows()) == 3


def test_an_erased_lead_is_gone(zbl, setup):
    """A person's lead is forgotten, and the command says what went (6.4)."""
    said = zbl("deliveries erase done --yes").out
    assert "Erased from 1 delivery" in said
    assert "1 payload" in said
    assert "done" not in statuses(setup)
    assert "knows no lead" in zbl("deliveries erase done --yes", code=1).err


def test_a_lead_in_flight_is_erased_later(zbl, setup):
    """What is being sent cannot be erased at this moment: exit code 1 tells a script (6.4)."""
    run = setup.run()
    setup.enrol(run, candidate("flying"))
    claimed = setup.log.claim(ZAPIER, 9, setup.now, timedelta(days=99999), run=run)
    assert "erase again" in zbl("deliveries erase flying --yes", code=1).err
    setup.settle(run, claimed, delivered())
    assert "Erased from 1 delivery" in zbl("deliveries erase flying --yes").out


def test_an_integration_is_held_and_resumed(zbl, setup):
    """A hold is listed with who holds, and since when; a resume ends it (8.4)."""
    zbl("integrations hold zapier --yes")
    [held] = json.loads(zbl("integrations list --since 2026-01-01 -o json").out)
    assert held["state"].startswith("held by ")
    assert (held["delivered"], held["error"], held["p50_ms"]) == ("1", "2", "250")
    zbl("integrations resume zapier --yes")
    [resumed] = json.loads(zbl("integrations list -o json").out)
    assert resumed["state"] == "sending"


def test_a_pause_is_listed(zbl, setup):
    """An integration that answers nothing but one error is listed with it (8.6)."""
    setup.log.pause(ZAPIER, 401, NOON)
    [paused] = json.loads(zbl("integrations list -o json").out)
    assert paused["state"] == "paused since 2026-03-01T12:00:00Z: it answers 401"


def test_an_unknown_integration_is_not_held(zbl, setup):
    """A slip of the pen holds nothing: exit code 1 (8.4)."""
    for command in ("hold zapeir --yes", "resume zapeir --yes", "show zapeir"):
        assert "there is no connection 'zapeir'" in zbl(f"integrations {command}", code=1).err
    assert [integration.name for integration in setup.log.integrations()] == [ZAPIER]


def test_the_log_is_kept(zbl):
    """Tables and keys are brought up to date by hand, too (6.1, 6.4)."""
    assert "this version" in zbl("log upgrade").out
    said = zbl("log rotate-keys --yes")
    assert "encrypted anew" in said.out
    # That of one lead is not in its body (2.7, 8.8).
    assert "1 lead can no longer be found by email" in said.err
    assert json.loads(zbl("deliveries list --email b@x.com -o json").out)


def test_what_airflow_writes_down_takes_no_email():
    """Commands that are in Airflow's audit log with their arguments do not offer it (6.4, 8.8)."""
    [zbl] = get_zbl_cli_commands()
    [deliveries] = [group for group in zbl.subcommands if group.name == "deliveries"]
    taking = {
        command.name
        for command in deliveries.subcommands
        if any("--email" in arg.flags for arg in command.args)
    }
    assert taking == {"list"}


def test_a_connection_is_put_in_words_without_a_secret(zbl, monkeypatch):
    """What is understood is said, and neither path, header value nor secret is (1.2 and 1.5)."""
    connection = {
        "conn_type": "zbl_webhook",
        "host": "https://hooks.test:8443/s3cret/?k=s3cret",
        "login": "s3cret",
        "extra": {
            "secret_headers": {"X-Key": "s3cret"},
            "signing_secret": "whsec_" + "c2VjcmV0" * 4,
            "field_filters": ["city equals New York"],
            "proxy": "http://s3cret:s3cret@proxy.test:3128",
            "timeout": 30,
        },
    }
    monkeypatch.setenv("AIRFLOW_CONN_ZAPIER", json.dumps(connection))
    out = zbl("integrations show zapier -o json").out
    assert "s3cret" not in out
    said = {row["setting"]: row["value"] for row in json.loads(out)}
    assert (said["origin"], said["path"]) == ("https://hooks.test:8443", "8 characters")
    assert said["query"] == "8 characters"
    assert said["headers"] == "X-Key, Authorization"
    assert said["signing_secret"] == "1 secret"
    assert said["field_filters"] == "city equals New York"
    assert said["proxy"] == "proxy.test:3128"
    assert "timeout" in said["remarks"]
    monkeypatch.setenv("AIRFLOW_CONN_ZAPIER", "zbl-webhook://https://hooks.test/s3cret")
    refused = zbl("integrations show zapier", code=1).err
    assert refused.startswith("Schema: ")
    assert "s3cret" not in refused
