"""How long a call waits for a database that is away."""

from __future__ import annotations

import logging
import pickle
from datetime import timedelta

import pytest
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError, InternalError, OperationalError, ProgrammingError

from zbl_provider.exceptions import DeliveryLogUnavailable
from zbl_provider.log.storage.engine import name_of
from zbl_provider.log.storage.retry import Retry
from zbl_provider.log.store import DeliveryLog


class Driver(Exception):  # noqa: N818  as drivers name theirs
    sqlstate = None


def problem(kind=OperationalError, text="connection refused", state=None):
    cause = Driver(text)
    cause.sqlstate = state
    return kind("SELECT name FROM leads", {}, cause)


class Call:
    """Fails with each of the problems in turn, then succeeds."""

    def __init__(self, *problems: DBAPIError) -> None:
        self.problems = list(problems)
        self.times = 0

    def __call__(self) -> str:
        self.times += 1
        if self.problems:
            raise self.problems.pop(0)
        return "done"


@pytest.fixture
def retry():
    """Give a minute of retries, whose waits take no time but their own clock's."""
    now = [0.0]
    retry = Retry("the log", timedelta(minutes=1), monotonic=lambda: now[0])
    retry.waits = []

    def wait(seconds):
        retry.waits.append(seconds)
        now[0] += seconds

    retry._ended.wait = wait
    return retry


def test_a_call_is_repeated_until_it_succeeds(retry, caplog):
    """A database that comes back costs time and nothing else, and the log says so (6.2)."""
    caplog.set_level(logging.INFO)
    call = Call(problem(), problem(), problem())
    assert retry.call(call) == "done"
    assert retry.waits == [0.1, 0.2, 0.4]
    assert not retry.waiting
    away, back = caplog.messages
    assert "the log" in away
    assert "connection refused" in away
    assert "back" in back


def test_the_waiting_is_bounded(retry):
    """After its time a call fails with the log's name, and no later call waits again (3.2)."""
    with pytest.raises(DeliveryLogUnavailable, match=r"the log.*connection refused"):
        retry.call(Call(*[problem()] * 1000))
    assert sum(retry.waits) == pytest.approx(60)
    assert max(retry.waits) == 5
    waited = len(retry.waits)
    with pytest.raises(DeliveryLogUnavailable):
        retry.call(Call(*[problem()] * 1000))
    assert len(retry.waits) == waited


@pytest.mark.parametrize(
    ("raised", "passes"),
    [
        (problem(), True),
        (problem(InternalError, "read-only transaction", "25006"), True),
        (problem(InternalError, "something else", "XX000"), False),
        (problem(ProgrammingError, "no such column", "42703"), False),
        (OSError("not of a database"), False),
    ],
)
def test_only_what_may_pass_is_waited_for(retry, raised, passes):
    """A mistake does not become better by waiting; a fail-over does."""
    call = Call(raised)
    if passes:
        assert retry.call(call) == "done"
        return
    with pytest.raises(type(raised)):
        retry.call(call)
    assert call.times == 1


def test_a_mistake_that_comes_up_after_a_wait_is_raised_as_it_is(retry):
    """What is repeated is judged anew each time."""
    with pytest.raises(ProgrammingError):
        retry.call(Call(problem(), problem(ProgrammingError)))
    assert not retry.waiting


def test_the_error_has_its_facts_and_crosses_processes():
    """It names the log and the reason as attributes, and Airflow may pickle it."""
    error = DeliveryLogUnavailable(log="the log", problem="disk is full")
    again = pickle.loads(pickle.dumps(error))
    assert (again.log, again.problem, str(again)) == ("the log", "disk is full", str(error))


def test_a_statement_is_not_shown(retry):
    """The error quotes the driver's first line only: others may show data (Contract 6.4)."""
    shown = problem(text="disk is full\nDETAIL: john@company.com")
    with pytest.raises(DeliveryLogUnavailable) as error:
        retry.call(Call(*[shown] * 1000))
    assert "john" not in str(error.value)
    assert "SELECT" not in str(error.value)


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("sqlite:////var/log.db", "SQLite file /var/log.db"),
        ("postgresql://u:secret@db:5432/zbl", "PostgreSQL database zbl at db"),
        ("postgresql:///zbl?host=/run/pg", "PostgreSQL database zbl at /run/pg"),
        ("postgresql://u:secret@/zbl?host=a&host=b", "PostgreSQL database zbl at a"),
    ],
)
def test_a_log_has_a_name_without_its_password(url, name):
    """Errors name the log's database, never how to get into it (Contract 1.5)."""
    assert name_of(make_url(url)) == name


def test_every_call_of_the_log_is_retried():
    """None is forgotten: each method that tasks, not pages, use waits for the database (6.2)."""
    calls = {name for name, made in vars(DeliveryLog).items() if callable(made)}
    retried = {name for name in calls if hasattr(vars(DeliveryLog)[name], "__wrapped__")}
    assert calls - retried == {
        "__init__",
        "upgrade",
        "ping",
        "clock",
        "wait_no_more",
        "close",
        "resend",
    }
