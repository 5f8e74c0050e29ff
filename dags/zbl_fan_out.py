"""
Every five minutes, send the leads that have qualified to several integrations at once.

One query, one mapped task an integration; the filters of its connection say which leads it gets. A
destination that fails turns its own task red, and the others go on.

```sh
airflow connections import zbl_fan_out.connections.yaml
airflow dags reserialize
airflow dags unpause zbl_fan_out
```

The internal API is in a private network, which `[zbl] allowed_networks` has to open.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Param

from zbl_provider.operators.dispatch import DispatchLeadsOperator

INTEGRATIONS = ["zapier", "make", "n8n", "internal_api"]

with DAG(
    dag_id="zbl_fan_out",
    description="Sends qualified leads to several integrations, each with filters of its own",
    doc_md=__doc__,
    schedule=timedelta(minutes=5),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=16,
    is_paused_upon_creation=True,  # no lead leaves before somebody says so
    tags=["zbl", "leads"],
    params={
        "leads_conn_id": Param("zbl_leads", type="string", title="Connection of the leads"),
        "leads_table": Param(
            "leads", type="string", pattern=r"^[A-Za-z_][\w.]*$", title="Table of the leads"
        ),
        "look_back_hours": Param(24, type="integer", minimum=0, title="Look-back in hours"),
    },
) as dag:
    DispatchLeadsOperator.partial(
        task_id="dispatch_leads",
        map_index_template="{{ task.webhook_conn_id }}",
        sql="qualified_leads.sql",
        leads_conn_id="{{ params.leads_conn_id }}",
        retries=2,  # for a lost worker or a database that is down; they add no attempt
        retry_delay=timedelta(minutes=1),
    ).expand(webhook_conn_id=INTEGRATIONS)
