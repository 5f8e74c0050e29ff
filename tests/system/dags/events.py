"""Dags of the tests of notifications, asset events and metrics."""

import time
from datetime import timedelta

from airflow.sdk import DAG, Asset, AsyncCallback, DeadlineAlert, DeadlineReference, task

from zbl_provider.notifications.webhook import WebhookNotifier
from zbl_provider.operators.dispatch import DispatchLeadsOperator

for name in ("announced", "unannounced"):
    with DAG(dag_id=name, schedule=None):
        DispatchLeadsOperator(
            task_id="send",
            sql=f"SELECT * FROM {name} ORDER BY id",
            leads_conn_id="leads",
            webhook_conn_id=name,
            schedule=(10, 10),
            retries=2,
            retry_delay=timedelta(0),
            outlets=[Asset(name)],
        )


def alarm(**settings: object) -> WebhookNotifier:
    """Make a notifier to the connection of these tests."""
    return WebhookNotifier(webhook_conn_id="alarming", **settings)


with DAG(
    dag_id="alarming",
    schedule=None,
    on_failure_callback=alarm(message="{{ dag.dag_id }} has failed"),
    deadline=DeadlineAlert(
        reference=DeadlineReference.DAGRUN_QUEUED_AT,
        interval=timedelta(0),
        callback=AsyncCallback(
            WebhookNotifier,
            {"webhook_conn_id": "alarming", "message": "{{ dag_run.dag_id }} is late"},
        ),
    ),
):

    @task(on_failure_callback=alarm(message="{{ ti.task_id }} has failed"))
    def send() -> None:
        """Fail, when the scheduler has seen that the run is late."""
        time.sleep(4)
        raise ValueError("marker-of-the-exception")

    send()
