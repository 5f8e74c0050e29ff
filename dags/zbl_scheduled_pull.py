"""
Every five minutes, send the leads that have qualified to one integration.

It needs the database and the integration; the query is in `qualified_leads.sql`:

```sh
airflow connections import zbl_scheduled_pull.connections.yaml
airflow dags reserialize
airflow dags unpause zbl_scheduled_pull
```

What was delivered is never sent again by a later run, so runs may overlap: while one waits for a
lead's next attempt, up to 51 minutes, the others go on.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Param

from zbl_provider.operators.dispatch import DispatchLeadsOperator

with DAG(
    dag_id="zbl_scheduled_pull",
    description="Sends qualified leads from a database to an integration",
    doc_md=__doc__,
    schedule=timedelta(minutes=5),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=16,
    is_paused_upon_creation=True,  # no lead leaves before somebody says so
    tags=["zbl", "leads"],
    params={
        "leads_conn_id": Param("zbl_leads", type="string", title="Connection of the leads"),
        "webhook_conn_id": Param("zbl_webhook_default", type="string", title="Integration"),
        "leads_table": Param(
            "leads", type="string", pattern=r"^[A-Za-z_][\w.]*$", title="Table of the leads"
        ),
        "look_back_hours": Param(24, type="integer", minimum=0, title="Look-back in hours"),
    },
) as dag:
    DispatchLeadsOperator(
        task_id="dispatch_leads",
        sql="qualified_leads.sql",
        leads_conn_id="{{ params.leads_conn_id }}",
        webhook_conn_id="{{ params.webhook_conn_id }}",
        retries=2,  # for a lost worker or a database that is down; they add no attempt
        retry_delay=timedelta(minutes=1),
    )
