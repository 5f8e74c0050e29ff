"""
Every five minutes, send the leads that have qualified to an integration.

The query looks back further than the schedule's step, so that a row which is committed late is
still found; what was delivered before is skipped (Contract 4.4). It runs as well when it is
triggered by hand, where Airflow 3 gives no data interval: then it looks back from now.

Connections: `zbl_leads`, the database (SQLite here; any other by the parameter), and
`zbl_webhook_default`, the integration, of type ZBL Webhook.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Param

from zbl_provider.operators.dispatch import DispatchLeadsOperator

# The moment is text in the query rather than a bound value, since each driver has its own mark for
# one and this query runs with all of them. Airflow makes it out of its own clock and a checked
# integer; whatever comes from elsewhere belongs into `parameters`.
QUALIFIED_LEADS = """
SELECT id, email, name, phone, company, score, status, custom_fields, verifications,
       created_at, qualified_at, list_id, list_name
FROM {{ params.leads_table }}
WHERE status = 'qualified'
  AND qualified_at >= '{{ (
    (dag_run.data_interval_start or dag_run.run_after)
    - macros.timedelta(hours=params.look_back_hours)
  ).strftime("%Y-%m-%d %H:%M:%S") }}'
ORDER BY qualified_at
"""

with DAG(
    dag_id="zbl_scheduled_pull",
    description="Sends qualified leads from a database to an integration",
    schedule=timedelta(minutes=5),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    tags=["zbl", "leads"],
    doc_md=__doc__,
    params={
        "leads_conn_id": Param("zbl_leads", type="string", title="Connection of the leads"),
        "webhook_conn_id": Param("zbl_webhook_default", type="string", title="Integration"),
        "look_back_hours": Param(24, type="integer", minimum=0, title="Look-back in hours"),
        "leads_table": Param(
            "leads", type="string", pattern=r"^[A-Za-z_][\w.]*$", title="Table of the leads"
        ),
    },
) as dag:
    DispatchLeadsOperator(
        task_id="dispatch_leads",
        sql=QUALIFIED_LEADS,
        leads_conn_id="{{ params.leads_conn_id }}",
        webhook_conn_id="{{ params.webhook_conn_id }}",
        retries=2,  # for a lost worker or a database that is down; they add no attempt
        retry_delay=timedelta(minutes=1),
    )
