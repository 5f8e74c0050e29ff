"""Sensors: what they wait for, deferred or not, and how they end (Contract 8.1)."""

import asyncio
import importlib
import json
import os
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    TaskDeferred,
)
from requests.auth import AuthBase
from sqlalchemy import make_url

from tests.support.databases import log_url, postgres
from tests.support.receiver import Reply
from zbl_provider.exceptions import (
    ConfigurationError,
    DeliveryLogUnavailable,
    LeadsDatabaseError,
    MissingConnection,
)
from zbl_provider.hooks.kept_back import look_at_integrations
from zbl_provider.hooks.webhook import is_active
from zbl_provider.operators.dispatch import DispatchLeadsOperator
from zbl_provider.sensors import base
from zbl_provider.sensors.delivery import LeadDeliverySensor, as_lead_ids
from zbl_provider.sensors.leads import QualifiedLeadSensor

__all__ = ["log_url", "postgres"]

QUERY = {"sql": "SELECT * FROM leads", "leads_conn_id": "zbl_leads"}
MARKER = "marker"


def _row(lead_id, **fields):
    row = {"id": lead_id, "email": f"{MARKER}{lead_id}@example.com", "status": "qualified"}
    return row | fields


def _context(run="run"):
    task_instance = SimpleNamespace(
        dag_id="dag",
        task_id="send",
        run_id=run,
        map_index=None,
        max_tries=0,
        id="1",
        try_number=1,
        get_first_reschedule_date=lambda _: None,
    )
    return {"ti": task_instance}


def _leads(**options):
    return QualifiedLeadSensor(task_id="wait", **QUERY | options)


def _arrived(lead_ids=("1", "2"), **options):
    return LeadDeliverySensor(task_id="arrived", lead_ids=lead_ids, **options)


def _send(run="run", **options):
    try:
        DispatchLeadsOperator(
            task_id="send", **QUERY, **{"wait_for_retries": False} | options
        ).execute(_context(run))
    except AirflowFailException as problem:
        return str(problem)
    return None


def _deferral(call, *arguments):
    with pytest.raises(TaskDeferred) as deferral:
        call(*arguments)
    return deferral.value


@pytest.fixture(autouse=True)
def on_each_database(log_url, monkeypatch):
    """Have the delivery log on SQLite, and on PostgreSQL."""
    url = make_url(log_url)
    connection = {"conn_type": "sqlite", "host": url.database}
    if url.drivername != "sqlite":
        connection = {"conn_type": "postgres", "host": url.query["host"]}
        connection |= {"login": url.username, "schema": url.database}
    monkeypatch.setenv("AIRFLOW_CONN_ZBL_LOG", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID", "zbl_log")


def test_leads_are_waited_for_until_there_is_one(leads, receiver):
    """A lead waits until it is delivered; a filtered one never does (Contract 8.1)."""
    leads(_row(0, status="new"))
    assert not _leads().poke({})
    leads(_row(1), _row(2))
    poked = _leads().poke({})
    assert poked
    assert poked.xcom_value == {"waiting": 2}
    _send()
    assert not _leads().poke({})


@pytest.mark.parametrize("login", ["key:1", "key"])
def test_a_login_is_left_to_who_sends(leads, receiver, monkeypatch, login):
    """An operator's `auth_type` may understand one that Basic authentication does not (1.1)."""

    class Key(AuthBase):
        def __init__(self, *credentials):
            self.credentials = credentials

        def __call__(self, request):
            request.headers["X-Key"] = "/".join(self.credentials)
            return request

    variable = "AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT"
    connection = json.loads(os.environ[variable]) | {"login": login, "password": "p"}
    connection["extra"]["secret_headers"] = {"Authorization": "Bearer of another"}
    monkeypatch.setenv(variable, json.dumps(connection))
    leads(_row(1))
    assert _leads().execute(_context()) == {"waiting": 1}
    assert is_active("zbl_webhook_default")
    seen = look_at_integrations(None, ["zbl_webhook_default"])
    assert [seen.ends_wait("zbl_webhook_default") for _ in range(2)] == [True, True]
    _send(auth_type=Key)
    assert receiver.received[0].headers["x-key"] == f"{login}/p"


def test_a_lead_in_error_is_waited_for_no_more(leads, receiver):
    """It needs a person, and a sensor that found it would find it for ever (Contract 4.5)."""
    leads(_row(1))
    receiver.answer = lambda _: Reply(503)
    _send(schedule=(60,))
    assert _leads().poke({}), "a retry is to come"
    leads(_row(2))
    receiver.answer = lambda _: Reply(401)
    _send("later")
    assert not _leads(sql="SELECT * FROM leads WHERE id = 2").poke({})


def test_deliveries_are_waited_for(leads, receiver):
    """A lead that the log does not know may still come (Contract 8.1)."""
    assert not _arrived().poke({})
    leads(_row(1))
    _send()
    poked = _arrived().poke({})
    assert not poked
    leads(_row(2))
    _send("again")
    poked = _arrived().poke({})
    assert poked
    assert poked.xcom_value == {"delivered": 2}


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_lead_that_will_not_be_delivered_fails_the_sensor_for_good(leads, receiver, deferrable):
    """At once, whatever else is open; its id and the reason are named (Contract 8.1, 3.2)."""
    leads(_row(1), _row(2, email="no address"))
    receiver.answer = lambda _: Reply(401)
    _send()
    with pytest.raises(AirflowFailException) as failure:
        _arrived([1, 2, 3], deferrable=deferrable).execute(_context())
    message = str(failure.value)
    assert message.startswith(
        "2 of 3 leads were not delivered to zbl_webhook_default: 1 in error, 1 invalid. "
        "lead 1 (error: answered 401 "
    )
    assert MARKER not in message
    with pytest.raises(AirflowSkipException):
        _arrived([1], deferrable=deferrable, soft_fail=True).execute(_context())


def test_a_filtered_lead_fails_or_is_accepted(leads, receiver):
    """It will not be delivered; who does not mind says so (Contract 5.4 and 8.1)."""
    leads(_row(1), _row(2, status="new"))
    _send()
    with pytest.raises(AirflowFailException, match=r"lead 2 \(filtered: status is 'new'\)"):
        _arrived().poke({})
    poked = _arrived(if_filtered="accept").poke({})
    assert poked
    assert poked.xcom_value == {"delivered": 1, "filtered": 1}
    with pytest.raises(ConfigurationError, match="if_filtered"):
        _arrived(if_filtered="skip")


def test_a_wait_is_a_deferral_without_personal_data(leads, receiver):
    """What is stored is a query or ids, and when the sensor's time is over (8.1, 4.3)."""
    leads(_row(1, status="new"))
    for sensor, kind in [(_leads, "leads.LeadsWait"), (_arrived, "delivery.LeadDelivery")]:
        deferral = _deferral(
            sensor(deferrable=True, poke_interval=7, timeout=90).execute, _context()
        )
        path, arguments = deferral.trigger.serialize()
        assert path == f"zbl_provider.triggers.{kind}Trigger"
        assert arguments["poll_interval"] == 7.0
        assert deferral.method_name == "look"
        assert timedelta(seconds=80) < deferral.timeout <= timedelta(seconds=90)
        assert list(deferral.kwargs) == ["until"]
        assert MARKER not in json.dumps([arguments, deferral.kwargs])


async def test_a_deferred_sensor_goes_on_when_its_trigger_fires(leads, receiver):
    """The trigger says that there is something; the task finds out what (Contract 8.1)."""
    for_leads = _leads(deferrable=True, poke_interval=1)
    for_arrival = _arrived(["1"], deferrable=True, poke_interval=1)
    first = _deferral(for_leads.execute, _context())
    second = _deferral(for_arrival.execute, _context())
    leads(_row(1))
    event = await anext(first.trigger.run())
    assert event.payload == {"found": True}
    assert for_leads.look(_context(), **first.kwargs, event=event.payload) == {"waiting": 1}
    await asyncio.to_thread(_send)
    event = await anext(second.trigger.run())
    assert for_arrival.look(_context(), **second.kwargs, event=event.payload) == {"delivered": 1}
    assert [request.lead_id for request in receiver.received] == ["1"]


def test_a_sensor_that_was_called_in_vain_waits_for_the_rest_of_its_time(leads, receiver):
    """However often it is deferred, `timeout` counts from its start (Contract 8.1)."""
    sensor = _leads(deferrable=True, timeout=90)
    until = datetime.now(UTC) + timedelta(seconds=30)
    deferral = _deferral(sensor.look, _context(), until.isoformat(), {"found": False})
    assert deferral.timeout <= timedelta(seconds=30)
    assert deferral.kwargs == {"until": until.isoformat()}
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    with pytest.raises(AirflowSensorTimeout):
        sensor.resume_execution("look", {"until": past}, _context())
    with pytest.raises(AirflowSkipException):
        _leads(deferrable=True, soft_fail=True).resume_execution(
            "look", {"until": past}, _context()
        )


def test_without_deferral_it_pokes_or_is_rescheduled(leads, receiver):
    """As every Airflow sensor (Contract 8.1)."""
    with pytest.raises(AirflowRescheduleException):
        _leads(mode="reschedule").execute(_context())
    with pytest.raises(AirflowSensorTimeout):
        _leads(poke_interval=0.01, timeout=0.02).execute(_context())
    leads(_row(1))
    assert _leads(mode="reschedule").execute(_context()) == {"waiting": 1}


def test_deferral_is_airflows_own_default(monkeypatch):
    """`[operators] default_deferrable` decides, as for the sensors that Airflow brings."""
    assert not _leads().deferrable
    monkeypatch.setenv("AIRFLOW__OPERATORS__DEFAULT_DEFERRABLE", "true")
    assert importlib.reload(base).DeferrableSensor(task_id="one").deferrable
    monkeypatch.undo()
    importlib.reload(base)


@pytest.mark.parametrize("deferrable", [False, True])
def test_a_database_that_is_away_is_left_to_airflows_retries(leads, receiver, deferrable):
    """Its own error fails the try, and shows no data; `silent_fail` and `never_fail` hold (3.2)."""
    leads(_row(1, name=MARKER))

    def broken(**options):
        options |= {"sql": "SELECT name -> '$' AS id FROM leads", "deferrable": deferrable}
        return _leads(**options)

    with pytest.raises(LeadsDatabaseError) as failure:
        broken().execute(_context())
    assert MARKER not in str(failure.value)
    with pytest.raises(AirflowSkipException):
        broken(never_fail=True).execute(_context())
    with pytest.raises((AirflowSensorTimeout, TaskDeferred)):
        broken(silent_fail=True, poke_interval=0.01, timeout=0.02).execute(_context())


def test_a_log_that_is_away_is_left_to_airflows_retries(leads, receiver, monkeypatch, tmp_path):
    """The same for both sensors (Contract 3.2)."""
    folder = {"conn_type": "sqlite", "host": str(tmp_path)}
    monkeypatch.setenv("AIRFLOW_CONN_ZBL_LOG", json.dumps(folder))
    for sensor in (_leads(), _arrived(), _leads(deferrable=True), _arrived(deferrable=True)):
        with pytest.raises(DeliveryLogUnavailable):
            sensor.execute(_context())


@pytest.mark.parametrize("deferrable", [False, True])
def test_what_only_a_person_can_change_fails_for_good(leads, receiver, deferrable):
    """A broken integration, ids that are none, parameters that can't travel (Contract 3.2)."""
    leads(_row(1, status="new"))
    for sensor, field in [
        (_leads(sql="SELECT email FROM leads"), "sql: "),
        (_arrived({"1": 2}), "lead_ids: "),
    ]:
        sensor.deferrable = deferrable
        with pytest.raises(AirflowFailException, match=field):
            sensor.execute(_context())
    sensor = _leads(
        sql="SELECT * FROM leads WHERE id > ?", parameters=[memoryview(b"1")], deferrable=True
    )
    with pytest.raises(AirflowFailException, match="parameters: "):
        sensor.execute(_context())
    with pytest.raises(MissingConnection, match="nobody_knows"):
        _arrived(webhook_conn_id="nobody_knows", deferrable=deferrable).execute(_context())


@pytest.mark.parametrize(
    ("given", "ids"),
    [
        (["1", 2, 3.0, "1"], ["1", "2", "3"]),
        ((7,), ["7"]),
        ("lead-7", ["lead-7"]),
        ("007", ["007"]),
        (42, ["42"]),
        ('["1", 2]', ["1", "2"]),
        ("[]", []),
        ({"1"}, ["1"]),
        (b"x-1", ["x-1"]),
    ],
)
def test_ids_come_in_many_forms(given, ids):
    """As an author, a template or an XCom gives them; each counts once (Contract 2.2)."""
    assert as_lead_ids(given) == ids


@pytest.mark.parametrize(
    "given", ["['1']", "[1, null]", None, "", [""], [["1"]], {"id": 1}, [True]]
)
def test_what_is_no_id_is_refused(given):
    """Rather than waited for in vain."""
    with pytest.raises(ConfigurationError, match="lead_ids"):
        as_lead_ids(given)
