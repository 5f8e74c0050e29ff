"""The operator that follows its query, as Airflow runs it (Contract 4.12)."""

import math
import sqlite3
import threading
import time
from datetime import timedelta
from types import SimpleNamespace

import pytest
from airflow.providers.sqlite.hooks.sqlite import SqliteHook
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowFailException, AirflowNotFoundException

from tests.support.receiver import Reply
from tests.support.rest import wait_for
from zbl_provider.exceptions import ConfigurationError, MissingConnection
from zbl_provider.hooks.webhook import WebhookHook
from zbl_provider.operators.dispatch import DispatchLeadsOperator

SECOND = timedelta(seconds=1)


def _context(run="run"):
    task_instance = SimpleNamespace(
        id=run,
        dag_id="dag",
        task_id="send",
        run_id=run,
        map_index=None,
        max_tries=0,
        try_number=1,
    )
    return {"ti": task_instance}


def _operator(follow=2 * SECOND, **options):
    return DispatchLeadsOperator(
        task_id="send",
        sql="SELECT * FROM leads",
        leads_conn_id="zbl_leads",
        follow=follow,
        poll_interval=0.05,
        **options,
    )


def _later(seconds, call, *arguments):
    timer = threading.Timer(seconds, call, arguments)
    timer.start()
    return timer


def _row(lead_id):
    return {"id": lead_id, "email": f"{lead_id}@example.com", "status": "qualified"}


def test_a_task_stays_and_sends_what_comes(leads, receiver):
    """It ends after its time, is not deferred for a retry, and sums up as ever (4.3, 4.12)."""

    def answer(request):
        lead_id = int(request.lead_id)
        if lead_id < 3:
            leads(_row(lead_id + 1))
        return Reply(503 if lead_id == 3 else 200)

    receiver.answer = answer
    leads(_row(1))
    began = time.monotonic()
    summary = _operator(3 * SECOND).execute(_context())
    assert 3 <= time.monotonic() - began < 30
    assert summary == {"delivered": 2, "retrying": 1}
    assert [request.lead_id for request in receiver.received] == ["1", "2", "3"]


def test_airflow_is_not_asked_at_each_look(leads, receiver, monkeypatch):
    """Its API gives the connections once, and the leads' database is connected to once (4.12)."""
    asked, connected = [], []
    get_connection, get_conn = BaseHook.get_connection, SqliteHook.get_conn

    def note(conn_id):
        asked.append(conn_id)
        return get_connection(conn_id)

    def connect(hook):
        connected.append(hook)
        connection = get_conn(hook)
        connection.set_trace_callback(statements.append)
        return connection

    statements = []
    monkeypatch.setattr(BaseHook, "get_connection", staticmethod(note))
    monkeypatch.setattr(SqliteHook, "get_conn", connect)
    leads(_row(1))
    assert _operator().execute(_context()) == {"delivered": 1}
    assert len(statements) > 8
    assert len(connected) == 1
    assert len(asked) < 8


@pytest.fixture
def readings(monkeypatch):
    """Have the integration's connection fail as told, the last way for ever; count the readings."""
    monkeypatch.setattr("zbl_provider.dispatch.follow._REREAD_SECONDS", 0.2)
    get_connection = WebhookHook.get_connection
    readings = []

    def fail(*problems):
        problems = (None, None, *problems)

        def read(conn_id):
            readings.append(conn_id)
            if problem := problems[min(len(readings), len(problems)) - 1]:
                raise problem
            return get_connection(conn_id)

        monkeypatch.setattr(WebhookHook, "get_connection", staticmethod(read))
        return readings

    return fail


def test_a_connection_that_is_gone_ends_the_task(leads, receiver, readings):
    """Naming it, when it is missed for the second time in a row (Contract 3.2 and 4.12)."""
    read = readings(AirflowNotFoundException("gone"))
    with pytest.raises(MissingConnection, match="connection 'zbl_webhook_default'"):
        _operator(timedelta(minutes=1)).execute(_context())
    assert len(read) == 4


def test_a_connection_that_is_missed_once_stays_as_it_is(leads, receiver, readings):
    """Airflow says that it isn't defined while its API server restarts (Contract 4.12)."""
    gone = AirflowNotFoundException("gone")
    read = readings(gone, None, gone, None)
    timer = _later(2, leads, _row(1))
    assert _operator(7 * SECOND).execute(_context()) == {"delivered": 1}
    assert len(read) >= 5
    timer.join()


def test_a_connection_that_cannot_be_read_at_the_moment_stays_as_it_is(leads, receiver, readings):
    """Airflow's API may be away: the task goes on with what it knows (Contract 4.12)."""
    read = readings(TimeoutError())
    timer = _later(2, leads, _row(1))
    assert _operator(5 * SECOND).execute(_context()) == {"delivered": 1}
    assert len(read) > 3
    timer.join()


def test_airflows_end_of_the_task_is_obeyed(leads, receiver):
    """What SIGTERM calls has it end in order, and soon (Contract 4.12 and 6.2)."""
    leads(_row(1))
    operator = _operator(timedelta(hours=1))
    ended = []

    def end():
        wait_for("the lead", lambda: receiver.received, seconds=60)
        ended.append(time.monotonic())
        operator.on_kill()

    timer = _later(0, end)
    with pytest.raises(Exception, match="Airflow ended this task"):
        operator.execute(_context())
    timer.join()
    assert time.monotonic() - ended[0] < 30
    assert [request.lead_id for request in receiver.received] == ["1"]


def test_a_query_that_cannot_work_fails_at_once(leads, receiver, tmp_path):
    """It is not looked at again and again for an hour (Contract 4.9 and 4.12)."""
    operator = _operator(timedelta(hours=1))
    operator.sql = "UPDATE leads SET score = 1"
    with pytest.raises(AirflowFailException, match="sql"):
        operator.execute(_context())
    with sqlite3.connect(tmp_path / "leads.db") as connection:
        connection.execute("DROP TABLE leads")
    with pytest.raises(Exception, match="no such table"):
        _operator(timedelta(hours=1)).execute(_context())


@pytest.mark.parametrize("follow", [timedelta(0), -SECOND, 3600])
def test_a_time_that_is_none_is_refused(follow):
    """While the Dag is parsed, naming the parameter (Contract 4.12)."""
    with pytest.raises(ConfigurationError, match="follow"):
        _operator(follow)


@pytest.mark.parametrize(
    "poll_interval",
    [0, -1, timedelta(0), "5 minutes", None, [1], True, math.nan, math.inf, timedelta.max],
)
def test_an_interval_that_is_none_is_refused(poll_interval):
    """As of the triggers (Contract 4.12)."""
    with pytest.raises(ConfigurationError, match="poll_interval"):
        DispatchLeadsOperator(
            task_id="send", sql="SELECT 1 AS id", leads_conn_id="x", poll_interval=poll_interval
        )
