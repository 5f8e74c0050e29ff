"""What the operators tell Airflow: defer, fail, return, show (Contract 3 and 4)."""

import asyncio
import json
import logging
import os
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial, partialmethod
from pathlib import Path
from types import SimpleNamespace

import pytest
from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.sdk import DAG, AsyncCallback
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowNotFoundException,
    TaskDeferred,
)
from airflow.sdk.module_loading import import_string
from jinja2 import StrictUndefined, UndefinedError
from requests.auth import AuthBase

from tests.support.receiver import Reply
from zbl_provider.exceptions import ConfigurationError, DeliveryLogUnavailable
from zbl_provider.hooks.delivery_log import delivery_log
from zbl_provider.hooks.kept_back import look_at_integrations
from zbl_provider.hooks.webhook import WebhookHook
from zbl_provider.operators.dispatch import DispatchLeadOperator, DispatchLeadsOperator
from zbl_provider.triggers.kept_back import KeptBackTrigger

MARKER = "marker"
KEPT = {"webhook_conn_id": "zbl_webhook_default", "log_conn_id": None}


def _row(lead_id, **fields):
    row = {"id": lead_id, "email": f"{MARKER}{lead_id}@example.com", "status": "qualified"}
    return row | fields


def _context(run="run", max_tries=0, map_index=None, try_number=None):
    """Return what Airflow gives a task: by default its first try, or the one after a clear."""
    try_number = max_tries + 1 if try_number is None else try_number
    task_instance = SimpleNamespace(
        id=f"{run} {try_number}",
        dag_id="dag",
        task_id="send",
        run_id=run,
        map_index=map_index,
        max_tries=max_tries,
        try_number=try_number,
    )
    return {"ti": task_instance}


def _many(**options):
    options = {"sql": "SELECT * FROM leads", "leads_conn_id": "zbl_leads"} | options
    return DispatchLeadsOperator(task_id="send", **options)


def _one(lead, **options):
    return DispatchLeadOperator(task_id="send", lead=lead, **options)


def _resumed(operator, deferral, context):
    """Have a new process go on with a task that was deferred, as Airflow does."""
    context["ti"]._ti_context_from_server = SimpleNamespace(next_method=deferral.method_name)
    operator.render_template_fields(context)
    return operator.resume(context, event={}, **deferral.kwargs)


def test_a_summary_counts_by_status(leads, receiver):
    """Both kinds of counts are plain JSON, and nobody's data (Contract 4.3)."""
    leads(_row(1), _row(2), _row(3, status="new"))
    summary = _many().execute(_context())
    assert summary == {"delivered": 2, "filtered": 1}
    assert _many().execute(_context("again")) == {"skipped": 2}


def test_a_task_says_how_many_rows_repeated_an_id(leads, receiver, capsys):
    """In its log and its summary, also after a wait (Contract 4.8)."""
    new = {"status": "new"}
    leads(_row(1, **new), _row(2, **new), _row(1), _row(1), _row(2, **new))
    receiver.answer = lambda request: Reply(200 if request.before else 503)
    with pytest.raises(TaskDeferred) as deferral:
        _many(schedule=(0.5,)).execute(_context())
    assert deferral.value.kwargs == KEPT | {"skipped": 0, "repeated": 3, "skipped_in_error": 0}
    while datetime.now(UTC) < deferral.value.trigger.moment:
        pass
    summary = _many().resume(_context(), event={}, **deferral.value.kwargs)
    assert summary == {"delivered": 1, "filtered": 1, "repeated": 3}
    assert "Rows that repeat an id of the query: 3." in capsys.readouterr().out


def test_a_wait_is_a_deferral_that_knows_a_moment_and_a_number(leads, receiver):
    """The trigger waits, and neither it nor the resumption carries a lead (Contract 3.4, 4.3)."""
    leads(_row(1), _row(2))
    _many().execute(_context("before"))
    leads(_row(3))
    receiver.answer = lambda _: Reply(503)
    with pytest.raises(TaskDeferred) as deferral:
        _many().execute(_context())
    assert isinstance(deferral.value.trigger, DateTimeTrigger)
    path, arguments = deferral.value.trigger.serialize()
    assert path == "zbl_provider.triggers.due.DueTrigger"
    wait = arguments["moment"] - datetime.now(UTC)
    assert timedelta(seconds=50) < wait < timedelta(seconds=61)
    assert deferral.value.method_name == "resume"
    assert deferral.value.kwargs == KEPT | {"skipped": 2, "repeated": 0, "skipped_in_error": 0}
    assert MARKER not in f"{arguments} {deferral.value.kwargs}"


def _fired(trigger, seconds):
    async def fire():
        return [event.payload async for event in trigger.run()]

    return asyncio.run(asyncio.wait_for(fire(), seconds))


def test_a_task_whose_lead_was_not_tried_waits_in_the_triggerer(receiver):
    """No worker looks again while a destination is down, only a trigger (8.7, 3.4)."""
    receiver.answer = lambda _: Reply(503)
    triggers = []
    for n in range(11):
        with pytest.raises(TaskDeferred) as deferral:
            _one(_row(n), schedule=(5, 60)).execute(_context(f"run {n}"))
        triggers.append(deferral.value.trigger)
    first, *_, trigger = triggers
    path, arguments = trigger.serialize()
    assert path == "zbl_provider.triggers.kept_back.KeptBackTrigger"
    assert arguments == {
        "webhook_conn_id": "zbl_webhook_default",
        "log_conn_id": None,
        "poll_interval": 30.0,
        "is_tried": False,
    }
    trigger = import_string(path)(**arguments | {"poll_interval": 0.2})
    with pytest.raises(TimeoutError):
        _fired(trigger, 2)
    receiver.answer = lambda _: Reply(200)
    time.sleep(max(0, (first.moment - datetime.now(UTC)).total_seconds()))
    assert _one(_row(0)).resume(_context("run 0"))["status"] == "delivered"
    assert _fired(trigger, 20) == [{"over": True}]
    assert _one(_row(10)).resume(_context("run 10"))["status"] == "delivered"
    assert [request.lead_id for request in receiver.received].count("10") == 1


def test_a_pause_ends_the_wait_for_a_destination(receiver):
    """What a pause means for its lead, the task knows (8.6, 8.7)."""
    receiver.answer = lambda _: Reply(503)
    with pytest.raises(TaskDeferred):
        _one(_row(1)).execute(_context())
    now = datetime.now(UTC)
    trigger = KeptBackTrigger(webhook_conn_id="zbl_webhook_default", poll_interval=0.2)
    with closing(delivery_log()) as log:
        log.begin_outage("zbl_webhook_default", now, "answered 503", now)
        with pytest.raises(TimeoutError):
            _fired(trigger, 1)
        log.pause("zbl_webhook_default", 404, now)
    assert _fired(trigger, 20) == [{"over": True}]


@pytest.mark.parametrize("by", ["a person", "the connection"])
def test_a_task_whose_lead_is_held_waits_in_the_triggerer(receiver, monkeypatch, by):
    """However long the hold is, and though the destination is down, too (1.2, 8.4, 8.7, 3.4)."""
    name, variable = "zbl_webhook_default", "AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT"
    connection = os.environ[variable]
    if by == "the connection":
        held = json.loads(connection)
        held["extra"]["active"] = False
        monkeypatch.setenv(variable, json.dumps(held))
    now = datetime.now(UTC)
    with closing(delivery_log()) as log:
        if by == "a person":
            log.hold(name, "ana", now)
        with pytest.raises(TaskDeferred) as deferral:
            _one(_row(1)).execute(_context())
        path, arguments = deferral.value.trigger.serialize()
        trigger = import_string(path)(**arguments | {"poll_interval": 0.2})
        with pytest.raises(TimeoutError):
            _fired(trigger, 2)
        log.begin_outage(name, now, "answered 503", now)
        with pytest.raises(TimeoutError):
            _fired(trigger, 2)
        monkeypatch.setenv(variable, connection)
        log.resume(name)
    assert _fired(trigger, 20) == [{"over": True}]
    assert _one(_row(1)).resume(_context())["status"] == "delivered"


def test_a_task_whose_lead_was_tried_goes_on_after_a_hold_by_its_schedule(receiver, monkeypatch):
    """Though the destination is down: its lead is one of those that may end that (1.2, 8.7)."""
    name, variable = "zbl_webhook_default", "AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT"
    receiver.answer = lambda request: Reply(200 if request.before else 503)
    with pytest.raises(TaskDeferred) as tried:
        _one(_row(1), schedule=(0.2,)).execute(_context())
    time.sleep(0.3)
    now, connection = datetime.now(UTC), os.environ[variable]
    held = json.loads(connection)
    held["extra"]["active"] = False
    monkeypatch.setenv(variable, json.dumps(held))
    with closing(delivery_log()) as log:
        log.begin_outage(name, now, "answered 503", now)
    with pytest.raises(TaskDeferred) as deferral:
        _one(_row(1)).resume(_context(), **tried.value.kwargs)
    path, arguments = deferral.value.trigger.serialize()
    trigger = import_string(path)(**arguments | {"poll_interval": 0.2})
    with pytest.raises(TimeoutError):
        _fired(trigger, 2)
    monkeypatch.setenv(variable, connection)
    assert _fired(trigger, 20) == [{"over": True}]
    summary = _one(_row(1)).resume(_context(), **deferral.value.kwargs)
    assert summary == {"status": "delivered", "attempts": 2, "last_status_code": 200}


@pytest.mark.parametrize("problem", [AirflowNotFoundException, PermissionError])
def test_a_connection_that_cannot_be_read_starts_one_task_a_look(monkeypatch, problem):
    """The API server may be away for a moment, while ten thousand wait (3.4)."""

    def refuse(*_):
        raise problem

    monkeypatch.setattr(WebhookHook, "get_connection", refuse)
    seen = look_at_integrations(None, ["zbl_webhook_default"])
    assert [seen.ends_wait("zbl_webhook_default") for _ in range(3)] == [True, False, False]


def test_a_task_and_its_trigger_do_not_start_each_other_at_once():
    """Should a worker see a hold that the triggerer does not see, a look apart (3.4)."""
    trigger = KeptBackTrigger(webhook_conn_id="unknown", poll_interval=3)
    with pytest.raises(TimeoutError):
        _fired(trigger, 2)
    trigger.poll_interval = 0.2
    assert _fired(trigger, 20) == [{"over": True}]


def test_a_task_goes_on_after_its_wait(leads, receiver):
    """It does not ask the leads' database again, and sums up the whole (Contract 3.4, 4.3)."""
    leads(_row(1))
    receiver.answer = lambda request: Reply(200 if request.before else 503)
    operator = _many(schedule=(0.2, 60))
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(_context())
    leads(_row(2))
    while datetime.now(UTC) < deferral.value.trigger.moment:
        pass
    assert operator.resume(_context(), event={}, skipped=4) == {"delivered": 1, "skipped": 4}
    assert [request.lead_id for request in receiver.received] == ["1", "1"]


@pytest.mark.parametrize("of", ["a query", "one lead"])
@pytest.mark.parametrize("changed", ["webhook_conn_id", "log_conn_id"])
def test_a_task_goes_on_with_the_integration_and_the_log_that_it_began_with(
    leads, receiver, monkeypatch, tmp_path, of, changed
):
    """What its Dag names after the wait has no lead of it: the task would be green (4.7, 6.2)."""
    leads(_row(1))
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", os.environ["AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT"])
    log = {"conn_type": "sqlite", "host": str(tmp_path / "other.db")}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER_LOG", json.dumps(log))
    other = {"webhook_conn_id": "other", "log_conn_id": "other_log"}
    task = partial(_many if of == "a query" else partial(_one, _row(1)), schedule=(0.2,))
    receiver.answer = lambda _: Reply(503)
    with pytest.raises(TaskDeferred) as deferral:
        task().execute(_context())
    time.sleep(0.3)
    with pytest.raises(AirflowFailException, match="to zbl_webhook_default"):
        _resumed(task(**{changed: other[changed]}), deferral.value, _context())
    receiver.answer = lambda _: Reply(200)
    task(**{changed: other[changed]}).execute(_context(max_tries=1))
    assert len(receiver.received) == 3


@pytest.mark.parametrize("of", ["a query", "one lead"])
def test_a_clear_at_work_after_a_wait_means_the_integration_that_the_dag_names_now(
    leads, receiver, monkeypatch, of
):
    """Airflow goes on behind the wait, but to clear a task is to run it as it is now (4.5)."""
    leads(_row(1))
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", os.environ["AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT"])
    task = _many if of == "a query" else partial(_one, _row(1))
    receiver.answer = lambda _: Reply(503)
    with pytest.raises(TaskDeferred) as deferral:
        task().execute(_context())
    receiver.answer = lambda _: Reply(200)
    summary = _resumed(task(webhook_conn_id="other"), deferral.value, _context(max_tries=1))
    assert "delivered" in f"{summary}"
    first, second = (request.headers["webhook-id"] for request in receiver.received)
    assert first != second


def test_a_task_fails_for_good_and_names_the_first_leads(leads, receiver):
    """
    One message counts what failed and names the first by id; no retry follows (3.2, 4.7).

    Those that are not sent come last: another row might have had the same id (4.8).
    """
    leads(_row(1, email="bad"), *(_row(lead_id) for lead_id in range(2, 6)), _row(6, score=50))
    receiver.answer = lambda request: Reply(200 if request.lead_id == "6" else 401)
    with pytest.raises(AirflowFailException) as failure:
        _many().execute(_context())
    message = str(failure.value)
    assert "5 of 6 leads" in message
    assert "4 in error, 1 invalid" in message
    assert "lead 2 (error: " in message
    assert message.count("; lead ") == 2, "three are named"
    assert "; …" in message
    assert MARKER not in message
    assert failure.value.__cause__ is None


def _fails(requests, receiver, context, **options):
    """Run a task whose lead is refused, and count the requests since the beginning."""
    with pytest.raises(AirflowFailException):
        _many(**options).execute(context)
    assert len(receiver.received) == requests


def test_an_airflow_retry_is_no_clear(leads, receiver):
    """A retry has the same `max_tries`, and a number that no clear would give it (4.5, 4.10)."""
    leads(_row(1))
    receiver.answer = lambda _: Reply(401)
    _fails(1, receiver, _context(max_tries=2, try_number=1), retries=2)
    _fails(1, receiver, _context(max_tries=2, try_number=2), retries=2)
    _fails(1, receiver, _context(max_tries=2, try_number=3), retries=2)
    _fails(2, receiver, _context(max_tries=5, try_number=4), retries=2)


def test_a_clear_counts_although_retries_was_lowered_before_it(leads, receiver):
    """After the end of the run `max_tries` may stay what it was: it is a clear (4.10)."""
    leads(_row(1))
    receiver.answer = lambda _: Reply(401)
    _fails(1, receiver, _context(max_tries=2, try_number=1), retries=2)
    _fails(2, receiver, _context(max_tries=2, try_number=2), retries=1)
    _fails(2, receiver, _context(max_tries=2, try_number=3), retries=1)


def test_a_clear_counts_although_the_run_could_not_tell_of_its_end(leads, receiver):
    """Marked as failed while it waited; Airflow's Dag run shows what `max_tries` hides (4.10)."""
    leads(_row(1), _row(2))
    receiver.answer = lambda request: Reply(401 if request.lead_id == "1" else 503)
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    context = _context(max_tries=1, try_number=1)
    context["dag_run"] = SimpleNamespace(start_date=noon, clear_number=None)
    with pytest.raises(TaskDeferred):
        _many(retries=1).execute(context)
    context = _context(max_tries=1, try_number=2)
    context["dag_run"] = SimpleNamespace(start_date=noon, clear_number=0)
    with pytest.raises(TaskDeferred):
        _many(retries=0).execute(context)
    assert len(receiver.received) == 2, "a retry, and `retries` was lowered meanwhile"
    context = _context(max_tries=1, try_number=3)
    context["dag_run"] = SimpleNamespace(start_date=noon + timedelta(hours=1), clear_number=1)
    with pytest.raises(TaskDeferred):
        _many(retries=0).execute(context)
    assert {request.lead_id for request in receiver.received[2:]} == {"1", "2"}


def test_a_run_made_anew_under_the_same_id_is_a_clear(leads, receiver):
    """A run that was deleted and triggered again sends what had failed in it (4.10)."""
    leads(_row(1))
    receiver.answer = lambda _: Reply(401)
    _fails(1, receiver, _context(max_tries=0, try_number=1))
    again = _context(max_tries=0, try_number=1)
    again["ti"].id = "another"
    _fails(2, receiver, again)
    _fails(2, receiver, again)


def test_mapped_tasks_are_tasks_of_their_own(receiver):
    """Each index of a mapped task minds its own lead (Contract 4.1)."""
    receiver.answer = lambda request: Reply(401 if request.lead_id == "1" else 200)
    with pytest.raises(AirflowFailException):
        _one({"id": 1}).execute(_context(map_index=0))
    assert _one({"id": 2}).execute(_context(map_index=1)) == {
        "status": "delivered",
        "attempts": 1,
        "last_status_code": 200,
    }


def test_a_clear_of_a_task_that_is_at_work_after_its_wait(leads, receiver):
    """Airflow begins that part again, and the query is asked all the same (4.5, 4.10)."""
    leads(_row(1), _row(2, email="no address"), _row(3))
    receiver.answer = lambda request: Reply({"1": 404, "3": 503}[request.lead_id])
    with pytest.raises(TaskDeferred) as deferral:
        _many().execute(_context())
    leads(_row(4))
    receiver.answer = lambda _: Reply()
    with pytest.raises(AirflowFailException, match=r"lead 2 \(invalid"):
        _many().resume(_context(max_tries=1), event={}, **deferral.value.kwargs)
    assert sorted(request.lead_id for request in receiver.received[2:]) == ["1", "3", "4"]


def test_a_clear_of_one_lead_that_is_at_work_after_its_wait(receiver):
    """It is as any clear: the lead is sent, whatever has become of it (4.5)."""
    lead = {"id": "1", "email": "1@example.com"}
    receiver.answer = lambda request: Reply(200 if request.before else 503)
    with pytest.raises(TaskDeferred) as deferral:
        _one(lead, schedule=(0.2,)).execute(_context())
    while datetime.now(UTC) < deferral.value.trigger.moment:
        pass
    _one(lead).resume(_context(), event={})
    summary = _one(lead).resume(_context(max_tries=1), event={})
    assert summary == {"status": "delivered", "attempts": 1, "last_status_code": 200}
    assert [request.status for request in receiver.received] == [503, 200, 200]


def test_one_lead_minds_its_own_and_is_sent_again_when_cleared(receiver):
    """For one lead `resend_all` is the default, for a query it is not (Contract 4.5 and 4.6)."""
    lead = json.dumps({"id": 1, "list": {"id": "l", "name": "L"}})
    _one(lead).execute(_context())
    _one(lead).execute(_context(max_tries=1))
    assert len(receiver.received) == 2
    assert json.loads(receiver.received[0].body)["list"] == {"id": "l", "name": "L"}
    assert _one(lead).execute(_context("later"))["skipped"] == 1
    assert "skipped" not in _one(lead, if_delivered="send").execute(_context("last"))
    assert len(receiver.received) == 3


@pytest.mark.parametrize(
    ("fields", "status"), [({"score": 250}, "invalid"), ({"status": "new"}, "filtered")]
)
def test_one_lead_that_another_run_kept_back_is_this_tasks_own(receiver, fields, status):
    """Asked for by itself, it ends each of its tasks as it ended the first (Contract 4.7, 5.5)."""
    lead = _row(1, **fields)
    for run in ("first", "second"):
        if status == "filtered":
            assert _one(lead).execute(_context(run))["status"] == status
        else:
            with pytest.raises(AirflowFailException, match=r"invalid: lead\.score"):
                _one(lead).execute(_context(run))
    assert receiver.received == []


def test_one_lead_in_error_that_is_invalid_now_fails_its_task(receiver):
    """It was not delivered, and cannot be sent again as it is (Contract 4.7)."""
    receiver.answer = lambda _: Reply(400)
    for run, score in (("first", 50), ("second", 250)):
        with pytest.raises(AirflowFailException, match="lead 1"):
            _one(_row(1, score=score)).execute(_context(run))
    assert len(receiver.received) == 1


def test_delivered_leads_of_a_query_stay_delivered_when_cleared(leads, receiver):
    """A clear sends them again only with `on_clear="resend_all"` (Contract 4.5)."""
    leads(_row(1))
    _many().execute(_context())
    _many().execute(_context(max_tries=1))
    assert len(receiver.received) == 1
    _many(on_clear="resend_all").execute(_context(max_tries=2))
    assert len(receiver.received) == 2


def test_a_task_may_leave_the_retries_to_the_next(leads, receiver):
    """`wait_for_retries=False` ends it after the first attempts, with counts (Contract 4.7)."""
    leads(_row(1))
    receiver.answer = lambda _: Reply(503)
    assert _many(wait_for_retries=False).execute(_context()) == {"retrying": 1}


def test_a_task_leaves_no_connection_to_the_log_open(leads, receiver, tmp_path):
    """Whether it ends, defers or fails, an operator closes the log that it opened (6.1)."""
    leads(_row(1))
    _many().execute(_context())
    assert _open_files(tmp_path / "zbl_delivery_log.db") == 0
    leads(_row(2))
    receiver.answer = lambda _: Reply(503)
    with pytest.raises(TaskDeferred):
        _many().execute(_context("deferred"))
    assert _open_files(tmp_path / "zbl_delivery_log.db") == 0
    leads(_row(3))
    receiver.answer = lambda _: Reply(404)
    with pytest.raises(AirflowFailException):
        _many(wait_for_retries=False).execute(_context("failed"))
    assert _open_files(tmp_path / "zbl_delivery_log.db") == 0


def _open_files(path):
    descriptors = Path("/proc/self/fd").iterdir()
    return sum(os.path.realpath(link) == str(path.resolve()) for link in descriptors)


def test_old_personal_data_is_cleared_at_the_end_of_a_task(leads, receiver, monkeypatch):
    """`[zbl] payload_retention_days` is kept by the tasks themselves (Contract 6.4)."""
    from zbl_provider.log.store import DeliveryLog

    asked = []
    monkeypatch.setattr(DeliveryLog, "purge_payloads", lambda *given: asked.append(given[2]))
    _many().execute(_context())
    monkeypatch.setenv("AIRFLOW__ZBL__PAYLOAD_RETENTION_DAYS", "7")
    _many().execute(_context())
    assert asked == [timedelta(days=30), timedelta(days=7)]


def test_retention_does_not_fall_behind_the_leads(leads, receiver, monkeypatch):
    """A task clears more than one step at its end, so that many leads do not outrun it (6.4)."""
    from zbl_provider.log.store import DeliveryLog

    one_each = partialmethod(DeliveryLog.purge_payloads, limit=1)
    monkeypatch.setattr(DeliveryLog, "purge_payloads", one_each)
    monkeypatch.setenv("AIRFLOW__ZBL__PAYLOAD_RETENTION_DAYS", "0")
    leads(*(_row(lead_id) for lead_id in range(3)))
    assert _many().execute(_context()) == {"delivered": 3}
    assert delivery_log().purge_payloads(datetime.now(UTC), timedelta()) == 0


def test_old_rows_are_deleted_at_the_end_of_a_task(leads, receiver, monkeypatch):
    """`[zbl] log_retention_days` is kept by the tasks themselves; 0 keeps all (Contract 6.4)."""
    from zbl_provider.log.store import DeliveryLog

    asked = []
    monkeypatch.setattr(DeliveryLog, "purge_rows", lambda *given: asked.append(given[2]))
    _many().execute(_context())
    for days in ("7", "0"):
        monkeypatch.setenv("AIRFLOW__ZBL__LOG_RETENTION_DAYS", days)
        _many().execute(_context())
    assert asked == [timedelta(days=365), timedelta(days=7)]


@pytest.mark.parametrize("option", ["payload_retention_days", "log_retention_days"])
@pytest.mark.parametrize("days", ["-1", "1000000", "99999999999", "for ever", "1.5", ""])
def test_a_retention_that_is_no_number_of_days_is_refused(
    leads, receiver, monkeypatch, option, days
):
    """Before anything is sent, and rather than that -1 deletes all that there is (6.4)."""
    leads(_row(1))
    monkeypatch.setenv(f"AIRFLOW__ZBL__{option.upper()}", days)
    with pytest.raises(AirflowFailException, match=option):
        _many().execute(_context())
    assert receiver.received == []


@pytest.mark.parametrize("lead", ["no JSON", "[1]", None, 5, "[" * 100_000])
def test_what_is_no_lead_is_refused_for_good(receiver, lead):
    """A lead that is no object fails the task, says what to pass, and shows nothing (4.1)."""
    with pytest.raises(AirflowFailException, match="tojson") as refusal:
        _one(lead).execute(_context())
    assert "no JSON" not in str(refusal.value)
    assert receiver.received == []


def test_choices_and_waits_are_checked_where_the_dag_is_written():
    """A wrong word or wait is an error of the Dag file, naming the parameter (3.1, 4.4, 4.5)."""
    for field, value in [
        ("on_clear", "all"),
        ("if_delivered", "yes"),
        ("schedule", (60, -1)),
        ("schedule", {60, 300}),
        ("schedule", {60: 300}),
        ("wait_for_retries", "False"),
        ("wait_for_retries", None),
    ]:
        with pytest.raises(ConfigurationError, match=field):
            _many(**{field: value})


def test_a_lead_is_rendered_and_hidden(receiver):
    """Its template is rendered, for the task alone: the view shows stars (Contract 4.1, 4.3)."""
    operator = _one({"id": "{{ number }}", "name": "{{ name }}"}, webhook_conn_id="{{ conn }}")
    values = {"number": 7, "name": MARKER, "conn": "zbl_webhook_default"}
    operator.render_template_fields(values)
    operator.render_template_fields(values)  # Airflow may do so twice
    assert str(operator.lead) == "***"
    assert operator.webhook_conn_id == "zbl_webhook_default"
    operator.execute(_context())
    assert json.loads(receiver.received[0].body)["lead"]["name"] == MARKER


def test_a_lead_may_come_of_a_function(receiver):
    """Airflow calls a templated field that is one; what it gives is hidden, too (4.1, 4.3)."""
    operator = _one(lambda context, jinja_env: {"id": context["number"], "name": "{{ number }}"})
    operator.render_template_fields({"number": 7})
    assert str(operator.lead) == "***"
    operator.execute(_context())
    lead = json.loads(receiver.received[0].body)["lead"]
    assert (lead["id"], lead["name"]) == ("7", "{{ number }}")


@pytest.mark.parametrize(
    "lead", ["{{ given.lead | tojson }}", lambda context, **_: context.pop("lead")]
)
def test_a_lead_is_not_asked_for_again_after_a_wait(receiver, lead):
    """The XCom may be gone, or the function give another one, that nobody would send (4.1)."""
    receiver.answer = lambda request: Reply(200 if request.before else 503)
    operator, given = _one(lead, schedule=(0.2,)), {"id": 7, "status": "qualified"}
    operator.render_template_fields(_context() | {"given": {"lead": given}, "lead": given})
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(_context())
    time.sleep(0.3)
    summary = _resumed(_one(lead, schedule=(0.2,)), deferral.value, _context())
    assert summary == {"status": "delivered", "attempts": 2, "last_status_code": 200}
    assert [request.lead_id for request in receiver.received] == ["7", "7"]


def test_a_lead_is_asked_for_again_where_its_task_was_cleared_at_work_after_a_wait(receiver):
    """Airflow goes on behind the wait, but a clear means the lead that there is now (4.5, 4.10)."""
    receiver.answer = lambda _: Reply(503)
    one = partial(_one, "{{ lead | tojson }}", schedule=(600,))
    operator = one()
    operator.render_template_fields({"lead": _row(7)})
    with pytest.raises(TaskDeferred) as first:
        operator.execute(_context())
    with pytest.raises(TaskDeferred) as second:
        _resumed(one(), first.value, _context(max_tries=1) | {"lead": _row(8)})
    webhook_ids = {r.lead_id: r.headers["webhook-id"] for r in receiver.received}
    assert (len(receiver.received), set(webhook_ids)) == (3, {"7", "8"})
    assert second.value.kwargs["webhook_id"] == webhook_ids["8"]


def test_a_lead_that_a_run_was_not_given_is_named(receiver):
    """A run's conf without it says so, rather than what Jinja makes of it (Contract 4.1)."""
    operator = _one("{{ conf.lead | tojson }}")
    with DAG("dag", schedule=None, template_undefined=StrictUndefined) as dag:
        dag.add_task(operator)
    with pytest.raises(AirflowFailException, match="lead: its template names"):
        operator.render_template_fields({"conf": {}})
    with pytest.raises(TypeError, match="set"):
        _one("{{ conf | tojson }}").render_template_fields({"conf": {1}})


def test_a_template_that_fails_shows_no_lead(caplog, capsys):
    """Neither the log nor the error holds what stands in the lead (Contract 4.3)."""
    caplog.set_level(logging.DEBUG)
    operator = _one({"id": 1, "name": MARKER, "email": "{{ nobody.email }}"})
    with pytest.raises(UndefinedError) as failure:
        operator.render_template_fields({})
    assert MARKER not in str(failure.value)
    assert MARKER not in caplog.text + capsys.readouterr().out


def test_a_task_log_has_ids_and_no_personal_data(leads, receiver, caplog, capsys):
    """At DEBUG, with every library's lines, no lead's data is in it (Contract 1.5 and 4.3)."""
    caplog.set_level(logging.DEBUG)
    leads(_row(1), _row(2, email=f"{MARKER} no address"))
    receiver.answer = lambda request: Reply(503, body=request.body)
    with pytest.raises(TaskDeferred):
        _many().execute(_context())
    # Airflow's own loggers, the operator's among them, write past Python's.
    written = f"{caplog.text} {capsys.readouterr().out}"
    assert "Lead 1: attempt 1 failed" in written
    assert "Leads of this task: " in written
    assert not any(text in written for text in (MARKER, "path-is-secret", "header-is-secret"))


def test_what_is_held_is_said(receiver, leads, monkeypatch, capsys):
    """A task whose integration is not active is green, and says that its leads are held (1.2)."""
    leads(_row(1))
    connection = json.loads(os.environ["AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT"])
    connection["extra"]["active"] = False
    monkeypatch.setenv("AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT", json.dumps(connection))
    assert _many().execute(_context()) == {"pending": 1}
    said = capsys.readouterr().out
    assert "zbl_webhook_default is held" in said
    assert "connection is not active" in said
    with pytest.raises(TaskDeferred):
        _one({"id": 2}).execute(_context("one"))
    assert "Waiting until zbl_webhook_default takes leads again" in capsys.readouterr().out
    assert receiver.received == []


def test_who_holds_is_said(receiver, leads, capsys):
    """The log names who holds the integration, and how it is resumed (Contract 8.4)."""
    leads(_row(1))
    log = delivery_log()
    log.hold("zbl_webhook_default", "ana", datetime.now(UTC))
    assert _many().execute(_context()) == {"pending": 1}
    said = capsys.readouterr().out
    assert "ana has held it" in said
    assert "airflow zbl integrations resume zbl_webhook_default" in said
    assert receiver.received == []
    log.resume("zbl_webhook_default")
    assert _many().execute(_context()) == {"delivered": 1}


def test_a_pause_fails_the_task_with_one_message(receiver, leads):
    """Not deferred, not retried: it says why, how many wait, and what to do (4.7 and 8.6)."""
    leads(*(_row(lead_id) for lead_id in range(100)))
    receiver.answer = lambda _: Reply(401)
    with pytest.raises(AirflowFailException) as failure:
        _many().execute(_context())
    message = str(failure.value)
    sent = len(receiver.received)
    assert sent < 10 + 16
    assert message.startswith("zbl_webhook_default is paused: answered 401 Unauthorized: check")
    assert f"{100 - sent} leads of this task wait" in message
    assert "clear this task" in message
    assert f"{sent} of 100 leads were not delivered" in message
    with pytest.raises(AirflowFailException, match="is paused"):
        _one({"id": "one"}).execute(_context("one"))
    assert len(receiver.received) == sent + 1
    receiver.answer = lambda _: Reply()
    assert _many().execute(_context(max_tries=1)) == {"delivered": 100}


def test_the_test_button_minds_neither_hold_nor_pause(receiver):
    """A test lead is sent whatever keeps the others back (Contract 1.6, 8.4, 8.6)."""
    log = delivery_log()
    log.hold("zbl_webhook_default", "ana", datetime.now(UTC))
    log.pause("zbl_webhook_default", 401, datetime.now(UTC))
    works, said = WebhookHook().test_connection()
    assert works, said
    assert len(receiver.received) == 1


def test_all_that_a_query_is_given_counts(receiver, tmp_path, leads, monkeypatch):
    """Parameters, `field_map`, `auth_type` and `log_conn_id` reach their places (4.2, 6.1)."""

    class Token(AuthBase):
        def __call__(self, request):
            request.headers["Authorization"] = "Token of the test"
            return request

    leads(_row(1, company="Rome"), _row(2, company="Oslo"))
    log = {"conn_type": "sqlite", "host": str(tmp_path / "other.db")}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER_LOG", json.dumps(log))
    operator = _many(
        sql="SELECT * FROM leads WHERE company = :town",
        parameters={"town": "Oslo"},
        field_map={"company": "custom_fields.city"},
        auth_type=Token,
        log_conn_id="other_log",
    )
    assert operator.execute(_context()) == {"delivered": 1}
    (request,) = receiver.received
    assert json.loads(request.body)["lead"]["custom_fields"] == {"city": "Oslo"}
    assert request.headers["authorization"] == "Token of the test"
    assert (tmp_path / "other.db").exists()
    assert not (tmp_path / "zbl_delivery_log.db").exists()


def test_a_query_may_stand_in_a_file(leads, receiver, tmp_path):
    """A `.sql` file is read and rendered, a semicolon at its end included (Contract 4.2)."""
    leads(_row(1), _row(2))
    folder = tmp_path / "dags"
    folder.mkdir()
    (folder / "leads.sql").write_text("SELECT * FROM leads WHERE id = {{ params.number }};\n")
    with DAG("with_a_file", schedule=None, template_searchpath=str(folder)):
        operator = _many(sql="leads.sql")
    operator.resolve_template_files()
    operator.render_template_fields({"params": {"number": 2}})
    assert operator.execute(_context()) == {"delivered": 1}
    assert receiver.received[0].lead_id == "2"


def test_a_log_that_is_away_is_left_to_airflows_retries(leads, receiver, monkeypatch):
    """It fails the task with the log's name, but not for good (Contract 3.2)."""
    away = {"conn_type": "postgres", "host": "127.0.0.1", "port": 1, "password": MARKER}
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", json.dumps(away))
    leads(_row(1))
    with pytest.raises(DeliveryLogUnavailable, match=r"PostgreSQL database .* at 127") as problem:
        _many(log_conn_id="away").execute(_context())
    assert MARKER not in str(problem.value)
    assert receiver.received == []


def test_people_hear_once_that_a_destination_is_down_and_that_it_is_back(leads, receiver):
    """`on_outage_callback` takes notifiers; one that fails stops nothing (Contract 8.7)."""
    heard, heard_later = [], []

    def broken(_):
        raise RuntimeError("the notifier's own trouble")

    leads(*(_row(lead_id) for lead_id in range(40)))
    receiver.answer = lambda _: Reply(503)

    async def later(context):
        await asyncio.sleep(0)
        heard_later.append(context["outage"])

    callbacks = [broken, later, lambda context: heard.append(context["outage"])]
    operator = _many(schedule=(3, 60), on_outage_callback=callbacks)
    with pytest.raises(TaskDeferred):
        operator.execute(_context())
    receiver.answer = lambda _: Reply()
    time.sleep(3.1)
    assert operator.resume(_context()) == {"delivered": 40}
    assert [outage["event"] for outage in heard] == ["down", "back"]
    assert heard_later == heard, "a coroutine is run, too"
    assert {outage["integration"] for outage in heard} == {"zbl_webhook_default"}
    assert "503" in heard[0]["reason"]


@pytest.mark.parametrize("callback", [AsyncCallback("alerts.tell"), ["alerts.tell"], "tell", 3])
def test_a_callback_that_cannot_be_called_is_refused_as_the_dag_is_parsed(callback):
    """Else it would tell nobody, on the day on which a destination is down (Contract 8.7)."""
    with pytest.raises(ConfigurationError, match="on_outage_callback"):
        _many(on_outage_callback=callback)


def test_a_task_fails_when_a_destination_stays_dark(leads, receiver):
    """It says since when, how many wait, and that the next run goes on (Contract 8.7)."""
    leads(*(_row(lead_id) for lead_id in range(100)))
    receiver.answer = lambda _: Reply(503)
    with pytest.raises(
        AirflowFailException, match=r"has been down since .* leads of this task wait"
    ):
        _many(schedule=()).execute(_context())
    assert len(receiver.received) < 40
    receiver.answer = lambda _: Reply()
    assert _many(schedule=()).execute(_context("next"))["delivered"] > 60


def test_a_task_that_waits_for_its_turn_to_try_one_knows_so_when_it_goes_on(leads, receiver):
    """Runs that follow each other at once try one lead a minute, each deferred (8.7, 3.4)."""
    leads(*(_row(lead_id) for lead_id in range(40)))
    receiver.answer = lambda _: Reply(503)
    for run in ("first", "second"):
        with pytest.raises(AirflowFailException, match="has been down since"):
            _many(schedule=()).execute(_context(run))
    tried = len(receiver.received)
    with pytest.raises(TaskDeferred) as deferral:
        _many(schedule=()).execute(_context("third"))
    wait = deferral.value.trigger.moment - datetime.now(UTC)
    assert timedelta(seconds=30) < wait < timedelta(seconds=60)
    assert deferral.value.kwargs["may_probe"]
    assert len(receiver.received) == tried
    receiver.answer = lambda _: Reply()
    with pytest.raises(TaskDeferred) as again:
        _many(schedule=()).execute(_context("third"))
    assert again.value.kwargs["may_probe"], "a retry waits, too"
    with pytest.raises(AirflowFailException, match="has been down since"):
        _many(schedule=()).resume(_context("third"), **deferral.value.kwargs)
    assert len(receiver.received) == tried, "it is not its turn yet, and it waits once"


def test_the_next_run_says_what_earlier_runs_left_in_error(leads, receiver, capsys):
    """Green, and honest: how many, since when, and how to send them again (Contract 4.5, 4.7)."""
    leads(_row(1), _row(2), _row(3))
    receiver.answer = lambda request: Reply(200 if request.lead_id == "3" else 404)
    with pytest.raises(AirflowFailException):
        _many().execute(_context())
    capsys.readouterr()
    assert _many().execute(_context("next")) == {"skipped": 3, "skipped_in_error": 2}
    said = "".join(capsys.readouterr())
    assert "Leads of the query that are in error: 2, the first since 20" in said
    assert "airflow zbl deliveries resend --integration zbl_webhook_default" in said
