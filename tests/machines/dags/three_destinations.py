"""Sends all leads to three destinations, each from two tasks that share its half of the work."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from zbl_provider.operators.dispatch import DispatchLeadsOperator

DESTINATIONS = ("zapier", "make", "crm")
SHARDS = 2
WAIT = 40  # longer than it takes to send all, or no task would ever wait

with DAG(dag_id="three_destinations", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    DispatchLeadsOperator.partial(
        task_id="dispatch",
        leads_conn_id="leads",
        log_conn_id="log",
        schedule=(WAIT,) * 4,
        retries=5,  # for lost workers; they add no attempt
        retry_delay=timedelta(0),
    ).expand_kwargs(
        [
            {
                "webhook_conn_id": destination,
                "sql": f"SELECT * FROM leads WHERE MOD(number, {SHARDS}) = {shard}",
            }
            for destination in DESTINATIONS
            for shard in range(SHARDS)
        ]
    )

with DAG(dag_id="embedded_log", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)):
    DispatchLeadsOperator(
        task_id="dispatch",
        leads_conn_id="leads",
        webhook_conn_id="zapier",
        sql="SELECT * FROM leads WHERE number < 3",
    )
