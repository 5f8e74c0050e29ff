"""A connection whose id is misspelt, or that cannot be read: who asks is told which (1.2)."""

import asyncio
import json
from types import SimpleNamespace

import pytest
import structlog

from zbl_provider.exceptions import ConfigurationError, MissingConnection
from zbl_provider.hooks.leads_query import LeadsQuery
from zbl_provider.hooks.webhook import WebhookHook
from zbl_provider.notifications.webhook import WebhookNotifier
from zbl_provider.operators.dispatch import DispatchLeadOperator, DispatchLeadsOperator
from zbl_provider.sensors.delivery import LeadDeliverySensor
from zbl_provider.sensors.leads import QualifiedLeadSensor
from zbl_provider.triggers.leads import QualifiedLeadTrigger

QUERY = {"sql": "SELECT * FROM leads", "leads_conn_id": "zbl_leads"}
LEAD = {"id": "1", "email": "marker@example.com"}


def _context():
    task_instance = SimpleNamespace(
        id="1", dag_id="dag", task_id="t", run_id="r", map_index=None, max_tries=0, try_number=1
    )
    return {"ti": task_instance}


def _task(operator, **options):
    return lambda names: operator(task_id="t", **options | names).execute(_context())


def _query(call):
    return lambda names: call(LeadsQuery(**QUERY | {"webhook_conn_id": "default"} | names))


def _notify(names):
    WebhookNotifier(**names).notify(_context())


WHO = {
    "leads": (_task(DispatchLeadsOperator, **QUERY), "webhook leads log"),
    "lead": (_task(DispatchLeadOperator, lead=LEAD), "webhook log"),
    "lead sensor": (_task(QualifiedLeadSensor, **QUERY), "webhook leads log"),
    "delivery sensor": (_task(LeadDeliverySensor, lead_ids=["1"]), "webhook log"),
    "notifier": (_notify, "webhook"),
    "backlog": (_query(LeadsQuery.backlog), "webhook leads log"),
    "hook": (lambda names: WebhookHook(**names).destination, "webhook"),
    "session": (lambda names: WebhookHook(**names).get_conn(), "webhook"),
}


@pytest.mark.parametrize(
    ("who", "which"), [(who, which) for who, (_, some) in WHO.items() for which in some.split()]
)
def test_a_misspelt_connection_is_named_with_its_parameter(leads, receiver, who, which):
    """Whoever asks, and whichever of the connections it is; Airflow may try again (1.2, 3.2)."""
    leads(LEAD | {"status": "qualified"})
    names = {"webhook_conn_id": "zbl_webhook_default", f"{which}_conn_id": "zapeir"}
    with pytest.raises(MissingConnection) as refused:
        WHO[who][0](names)
    assert refused.value.field == f"{which}_conn_id"
    assert "no connection 'zapeir'" in str(refused.value)
    assert "Add it, or correct the id" in str(refused.value)
    assert refused.value.__context__ is None
    assert isinstance(refused.value, ConfigurationError)
    assert not receiver.received


def test_the_option_of_the_log_is_named(leads, receiver, monkeypatch):
    """Where no parameter names the delivery log, its option does (Contract 6.1)."""
    monkeypatch.setenv("AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID", "zbl_lgo")
    with pytest.raises(MissingConnection, match=r"delivery_log_conn_id: there is no .*'zbl_lgo'"):
        WHO["leads"][0]({})


@pytest.mark.parametrize(
    "text",
    [
        '{"conn_type": "zbl_webhook", "host": "https://receiver.test/marker"',
        json.dumps({"conn_type": "zbl_webhook", "host": "https://receiver.test/marker", "hots": 1}),
        "zbl-webhook://receiver.test:marker/",
    ],
)
def test_a_variable_that_airflow_cannot_read_is_named(monkeypatch, text):
    """It is there, and Airflow says that it isn't; nothing of it is shown (1.2, 1.5)."""
    monkeypatch.setenv("AIRFLOW_CONN_ZAPIER", text)
    with pytest.raises(MissingConnection, match="AIRFLOW_CONN_ZAPIER") as refused:
        WebhookHook("zapier").get_conn()
    assert "marker" not in str(refused.value)


def test_a_watcher_says_which_connection_it_does_not_find(leads, receiver):
    """It goes on asking, and its log has the parameter (Contract 8.2)."""

    async def look():
        trigger = QualifiedLeadTrigger(**QUERY, webhook_conn_id="zapeir", poll_interval=0.05)
        await asyncio.wait_for(anext(trigger.run()), 2)

    with structlog.testing.capture_logs() as lines, pytest.raises(TimeoutError):
        asyncio.run(look())
    [line] = lines
    assert "webhook_conn_id: there is no connection 'zapeir'" in line["event"]
