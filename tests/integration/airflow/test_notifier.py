"""Notifications, against a real HTTPS receiver (Contract 8.3)."""

import asyncio
import json
import os
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
import structlog
from airflow.sdk import DAG, AsyncCallback, SyncCallback
from airflow.triggers.callback import CallbackTrigger
from requests.auth import AuthBase

from tests.support.receiver import Reply, is_signed
from zbl_provider.exceptions import ConfigurationError, NotificationFailed
from zbl_provider.notifications.webhook import WebhookNotifier

SECRET = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"
MOMENT = datetime(2026, 2, 23, 14, 30, 2, 999, tzinfo=UTC)
RUN = SimpleNamespace(
    dag_id="dag",
    run_id="run 1",
    state="running",
    logical_date=None,
    run_after=MOMENT,
    clear_number=0,
    conf={"lead": "marker"},
)
DEADLINE = {"id": "d-1", "deadline_time": MOMENT.isoformat()}
FACTS = {
    "dag_id": "dag",
    "run_id": "run 1",
    "task_id": None,
    "map_index": None,
    "try_number": None,
    "logical_date": None,
    "run_after": "2026-02-23T14:30:02Z",
    "deadline": None,
    "url": "http://localhost:8080/dags/dag/runs/run%201",
    "message": None,
    "data": {},
}


def _task(state="failed", run=RUN, **fields):
    fields = {"task_id": "t", "map_index": -1, "try_number": 1, "max_tries": 0} | fields
    task_instance = SimpleNamespace(dag_id="dag", run_id="run 1", state=state, **fields)
    return {"ti": task_instance, "dag_run": run, "exception": ValueError("marker")}


def _run(**fields):
    run = SimpleNamespace(**vars(RUN) | {"state": "failed"} | fields)
    return _task(state=None, run=run) | {"reason": "task_failure"}


def _missed():
    run = vars(RUN) | {"dag_run_id": "run 1", "run_after": MOMENT.isoformat()}
    del run["run_id"]
    return {"dag_run": run, "deadline": DEADLINE}


@pytest.fixture(autouse=True)
def _base_url(monkeypatch):
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "http://localhost:8080/")


@pytest.fixture
def change(monkeypatch):
    """Give a function that changes the default connection."""

    def apply(**extra):
        connection = json.loads(os.environ["AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT"])
        connection["extra"] |= extra
        monkeypatch.setenv("AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT", json.dumps(connection))

    return apply


OF_TASK = {"task_id": "t", "try_number": 1, "url": f"{FACTS['url']}/tasks/t"}
MAPPED = {"map_index": 3, "url": f"{FACTS['url']}/tasks/t/mapped/3"}


@pytest.mark.parametrize(
    ("context", "facts"),
    [
        (_task(), OF_TASK | {"event": "task.failed", "state": "failed"}),
        (_task("success"), OF_TASK | {"event": "task.success", "state": "success"}),
        (_task(map_index=3), OF_TASK | MAPPED | {"event": "task.failed", "state": "failed"}),
        (_task(None), OF_TASK | {"event": "task.failed", "state": "failed"}),
        (
            _task(None, max_tries=1),
            OF_TASK | {"event": "task.up_for_retry", "state": "up_for_retry"},
        ),
        (_run(), {"event": "dag_run.failed", "state": "failed"}),
        (
            _run(logical_date=MOMENT),
            {"event": "dag_run.failed", "state": "failed"}
            | {"logical_date": "2026-02-23T14:30:02Z"},
        ),
        (
            {"dag": DAG("dag", schedule=None), "run_id": "run 1", "reason": "success"},
            {"event": "dag_run.success", "state": "success", "run_after": None},
        ),
        (
            _missed(),
            {"event": "deadline.missed", "state": "running", "deadline": "2026-02-23T14:30:02Z"},
        ),
    ],
)
def test_a_notification_says_what_happened(receiver, context, facts):
    """Every key is always there, whichever part of Airflow runs the callback (Contract 8.3)."""
    WebhookNotifier()(context)
    (request,) = receiver.received
    document = json.loads(request.body)
    assert abs(datetime.fromisoformat(document.pop("timestamp")) - datetime.now(UTC)) < timedelta(
        minutes=5
    )
    assert document == FACTS | facts
    assert b"marker" not in request.body, "no text of an exception, no conf of the run"


def test_a_notification_goes_the_way_of_the_leads(receiver, change):
    """Headers of the connection, id, signature, `auth_type`: as for a lead (Contract 2.3, 8.3)."""

    class Token(AuthBase):
        def __call__(self, request):
            request.headers["Authorization"] = "Token of the test"
            return request

    change(signing_secret=SECRET)
    WebhookNotifier(auth_type=Token)(_task())
    (request,) = receiver.received
    assert request.path == "/hooks/catch/path-is-secret"
    assert request.headers["x-key"] == "header-is-secret"
    assert request.headers["authorization"] == "Token of the test"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["idempotency-key"] == request.webhook_id
    assert is_signed(request, SECRET)


def test_a_notification_is_named_for_what_happened(receiver):
    """The id is the same whenever it is told again, and another for anything else (2.3, 8.3)."""
    told = [
        _task(),
        _task("success"),
        _task(try_number=2),
        _task(map_index=0),
        _task(task_id="u"),
        _run(),
        _run(clear_number=1),
        _missed(),
    ]
    for _ in range(2):
        for context in told:
            WebhookNotifier()(dict(context))
    WebhookNotifier(event="mine")(_task())
    ids = [request.webhook_id for request in receiver.received]
    assert ids[:8] == ids[8:16]
    assert len(set(ids)) == 9
    assert all(len(name) == 44 and name.startswith("msg_") for name in ids)


def test_what_is_said_is_rendered_anew_for_each_task(receiver):
    """Templates are the notifier's own: one object may serve many tasks (Contract 8.3)."""
    notifier = WebhookNotifier(
        webhook_conn_id="{{ conn }}",
        event="leads.{{ ti.state }}",
        message="{{ ti.task_id }} fails",
        data={"owner": "{{ ti.task_id }}s", "level": 2},
    )
    for task_id in "ab":
        notifier(_task(task_id=task_id) | {"conn": "zbl_webhook_default"})
    bodies = [json.loads(request.body) for request in receiver.received]
    assert [body["event"] for body in bodies] == ["leads.failed"] * 2
    assert [body["message"] for body in bodies] == ["a fails", "b fails"]
    assert bodies[1]["data"] == {"owner": "bs", "level": 2}


@pytest.mark.parametrize(
    ("data", "sent"),
    [("{{ {'a': ti.task_id} | tojson }}", {"a": "t"}), ("{{ '' }}", {}), (None, {}), ({}, {})],
)
def test_data_is_an_object_though_a_template_makes_a_text(receiver, data, sent):
    """The receiver's document always has an object there (Contract 8.3)."""
    WebhookNotifier(data=data)(_task(task_id="t"))
    assert json.loads(receiver.received[0].body)["data"] == sent


def test_a_template_that_makes_nothing_is_not_sent_itself(receiver):
    """Airflow 3.2 leaves it as it is (Contract 8.3)."""
    WebhookNotifier(event="{{ '' }}", message="{{ '' }}")(_task())
    body = json.loads(receiver.received[0].body)
    assert (body["event"], body["message"]) == ("task.failed", "")


@pytest.mark.parametrize("data", ["{{ ti.task_id }}", "{{ [1] | tojson }}", "{{ none }}", "NaN"])
def test_a_template_that_makes_no_object_is_refused(receiver, data):
    """It says which parameter to change, without its value (Contract 8.3)."""
    with pytest.raises(ConfigurationError, match=r"data: its template makes neither .*tojson"):
        WebhookNotifier(data=data)(_task())
    assert receiver.received == []


@pytest.mark.parametrize("status", [401, 302, 429])
def test_what_another_try_cannot_help_is_sent_once(receiver, status):
    """A 4xx or a redirect is raised at once, with what to change, and no secret (1.5, 3, 8.3)."""
    receiver.answer = lambda _: Reply(status, body=b"header-is-secret")
    with pytest.raises(NotificationFailed, match=f"zbl_webhook_default: answered {status}") as told:
        WebhookNotifier()(_task())
    assert len(receiver.received) == 1
    assert "is-secret" not in f"{told.value} {told.value.__cause__}"


def test_a_receiver_that_is_ill_gets_a_few_tries(receiver, change):
    """A 5xx is tried again after each wait, under one id and with one body (Contract 3, 8.3)."""
    receiver.answer = lambda request: Reply(503 if request.before < 2 else 200)
    WebhookNotifier(schedule=(0.01, timedelta(seconds=0.01)))(_task())
    assert [request.status for request in receiver.received] == [503, 503, 200]
    assert len({(request.webhook_id, request.body) for request in receiver.received}) == 1
    receiver.answer = lambda _: Reply(503)
    with pytest.raises(NotificationFailed, match="answered 503"):
        WebhookNotifier(schedule=(0.01,))(_task())
    assert len(receiver.received) == 5
    change(retry_statuses=["429"])
    receiver.answer = lambda request: Reply(429 if request.before == 5 else 200)
    WebhookNotifier(schedule=(0.01,))(_task())
    assert [request.status for request in receiver.received[5:]] == [429, 200]


def test_a_receiver_that_is_away_is_said_without_its_path(receiver, monkeypatch):
    """No answer is a failure that names the connection, and no part of its URL (1.5, 8.3)."""
    connection = {"conn_type": "zbl_webhook", "host": "https://localhost:1/path-is-secret"}
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", json.dumps(connection))
    with pytest.raises(NotificationFailed, match="away") as told:
        WebhookNotifier(webhook_conn_id="away", schedule=())(_task())
    assert "path-is-secret" not in str(told.value)


def test_a_guarded_address_is_refused(receiver, monkeypatch):
    """The network guard holds for notifications, and the option is named (Contract 7.1, 8.3)."""
    monkeypatch.setenv("AIRFLOW__ZBL__ALLOWED_NETWORKS", "")
    with pytest.raises(NotificationFailed, match="allowed_networks"):
        WebhookNotifier()(_task())
    assert receiver.received == []


def test_what_is_not_active_is_not_notified(receiver, change, capsys):
    """A connection that is switched off gets nothing, and the log says so (Contract 1.2, 8.3)."""
    change(active=False)
    WebhookNotifier()(_task())
    asyncio.run(_await(WebhookNotifier(context=_missed())))
    assert receiver.received == []
    assert capsys.readouterr().out.count("zbl_webhook_default is not active") == 2


@pytest.mark.parametrize(
    "wrong", [{"data": {"a": object()}}, {"message": "\ud800"}, {"data": {"a": "\ud800"}}]
)
def test_what_is_not_json_is_refused(receiver, wrong):
    """It is said which parameter to change, without its value (Contract 8.3)."""
    with pytest.raises(ConfigurationError, match="data: "):
        WebhookNotifier(**wrong)(_task())
    assert receiver.received == []


@pytest.mark.parametrize("data", [5, ["a"], True])
def test_data_that_is_no_object_is_refused_where_the_dag_is_written(data):
    """A callback that fails tells nobody: the receiver's document has an object there (8.3)."""
    with pytest.raises(ConfigurationError, match="data: is not an object"):
        WebhookNotifier(data=data)


def test_a_schedule_that_would_hold_up_airflow_is_refused(receiver):
    """The waits are a minute in all at most, where the Dag is written (Contract 8.3)."""
    with pytest.raises(ConfigurationError, match="schedule"):
        WebhookNotifier(schedule=(60, 1))


async def _await(awaitable):
    await awaitable


async def test_an_async_notification_lets_the_loop_go_on(receiver):
    """While it waits for an answer, other triggers run (Contract 8.3)."""
    answered = threading.Event()

    def answer(_):
        answered.wait(30)
        return Reply()

    receiver.answer = answer
    notifying = asyncio.create_task(_await(WebhookNotifier(context=_missed())))
    for _ in range(5):
        await asyncio.sleep(0.05)
    assert not notifying.done()
    answered.set()
    await notifying
    assert json.loads(receiver.received[0].body)["event"] == "deadline.missed"


async def test_an_async_notification_is_tried_again_and_raised(receiver):
    """Waits and errors are those of the sync way (Contract 8.3)."""
    receiver.answer = lambda _: Reply(503)
    with pytest.raises(NotificationFailed, match="answered 503"):
        await WebhookNotifier(context=_missed(), schedule=(0.01,), message="{{ deadline.id }}")
    assert [json.loads(request.body)["message"] for request in receiver.received] == ["d-1"] * 2


def test_a_deadline_takes_the_notifier_by_name(receiver):
    """Both kinds of callbacks, called as Airflow calls them, with plain JSON (Contract 8.3)."""
    arguments = {"message": "{{ dag_run.dag_id }} is late", "schedule": [1]}
    for kind in (AsyncCallback, SyncCallback):
        callback = kind(WebhookNotifier, arguments)
        path, given = callback.path, callback.kwargs | {"context": _missed()}
        if kind is AsyncCallback:
            asyncio.run(_exhaust(CallbackTrigger(path, given).run()))
        else:
            assert _executed(path, given) == (True, None)
    assert [json.loads(request.body)["message"] for request in receiver.received] == [
        "dag is late"
    ] * 2


def _executed(path, arguments):
    """Have Airflow call a callback, where its version has that."""
    try:
        from airflow.sdk.execution_time.callback_supervisor import execute_callback
    except ImportError:  # Airflow 3.2
        from airflow.executors.workloads.callback import execute_callback_workload

        data = {"path": path, "kwargs": arguments}
        return execute_callback_workload(SimpleNamespace(data=data), structlog.get_logger())
    return execute_callback(path, arguments, "", None, structlog.get_logger())


async def _exhaust(events):
    assert [event.payload["state"] async for event in events] == ["running", "success"]
