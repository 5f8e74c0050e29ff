"""One leads table, three destinations, each with headers and filters of its own.

Nothing here is special but `SCHEDULE`: the waits after a failed attempt are seconds instead of
minutes, so that the whole story fits in a minute. The headers and filters are the connections'.
"""

from datetime import timedelta

from airflow.sdk import DAG

from zbl_provider.operators.dispatch import DispatchLeadsOperator

SCHEDULE = tuple(timedelta(seconds=seconds) for seconds in (4, 4, 5, 5))
# For a lost worker and the like; they add no attempt.
RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=1)}

with DAG(
    dag_id="leads_to_three_integrations",
    schedule=None,
    default_args=RETRIES,
    tags=["zbl", "demo"],
):
    DispatchLeadsOperator(
        task_id="crm",
        sql="SELECT * FROM leads",
        leads_conn_id="leads",
        webhook_conn_id="crm",
        schedule=SCHEDULE,
    )
    DispatchLeadsOperator(
        task_id="brazil_team",
        sql="SELECT * FROM leads WHERE country = :country",
        parameters={"country": "BR"},
        leads_conn_id="leads",
        webhook_conn_id="brazil_team",
        schedule=SCHEDULE,
    )
    DispatchLeadsOperator(
        task_id="call_center",
        sql="SELECT * FROM leads WHERE phone IS NOT NULL",
        leads_conn_id="leads",
        webhook_conn_id="call_center",
        schedule=SCHEDULE,
    )
