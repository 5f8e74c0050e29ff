"""Dags of the system tests that wait for leads, and that leads wait for."""

from airflow.sdk import DAG, Asset, AssetWatcher

from zbl_provider.operators.dispatch import DispatchLeadsOperator
from zbl_provider.sensors.delivery import LeadDeliverySensor
from zbl_provider.sensors.leads import QualifiedLeadSensor
from zbl_provider.triggers.leads import QualifiedLeadTrigger

OFTEN = {"deferrable": True, "poke_interval": 1}
WATCHED = {
    "sql": "SELECT * FROM watched",
    "leads_conn_id": "leads",
    "webhook_conn_id": "watched",
}
AWAITED = WATCHED | {"sql": "SELECT * FROM awaited", "webhook_conn_id": "awaited"}

qualified = Asset(
    "watched_leads",
    watchers=[AssetWatcher(name="leads", trigger=QualifiedLeadTrigger(**WATCHED, poll_interval=1))],
)
with DAG(dag_id="watched", schedule=[qualified], max_active_runs=1):
    DispatchLeadsOperator(task_id="send", **WATCHED, schedule=(5,), wait_for_retries=False)

with DAG(dag_id="awaited", schedule=None):
    QualifiedLeadSensor(task_id="wait", **AWAITED, **OFTEN) >> DispatchLeadsOperator(
        task_id="send", **AWAITED, retries=2
    )
    LeadDeliverySensor(
        task_id="arrived", lead_ids="{{ ['late'] | tojson }}", webhook_conn_id="awaited", **OFTEN
    )

with DAG(dag_id="in_vain", schedule=None):
    LeadDeliverySensor(
        task_id="send",
        lead_ids=["nobody"],
        webhook_conn_id="in_vain",
        timeout=5,
        soft_fail=True,
        **OFTEN,
    )
