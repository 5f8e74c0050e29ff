"""
Send leads seconds after they qualify, instead of with the next run of a schedule.

A watcher in Airflow's triggerer looks at the table every five seconds and compares what it finds
with the delivery log. When there is something to send, it updates the asset, and that starts this
Dag.

```sh
airflow connections import zbl_event_driven.connections.yaml
airflow dags reserialize
airflow dags unpause zbl_event_driven
```

The watcher remembers nothing that could be lost: restart what you like, and it finds what has not
been sent. It has no parameters, so its settings are constants.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Asset, AssetWatcher

from zbl_provider.operators.dispatch import DispatchLeadsOperator
from zbl_provider.triggers.leads import QualifiedLeadTrigger

LEADS = "zbl_leads"
INTEGRATION = "sales"
# PostgreSQL's clock; SQLite says datetime('now', '-1 day').
QUALIFIED_LEADS = """
SELECT id, email, name, phone, company, score, status, custom_fields, verifications,
       created_at, qualified_at, list_id, list_name
FROM leads
WHERE status = 'qualified' AND qualified_at >= now() - interval '1 day'
ORDER BY qualified_at
"""

qualified_leads = Asset(
    "zbl_qualified_leads",
    watchers=[
        AssetWatcher(
            name="zbl_new_leads",
            trigger=QualifiedLeadTrigger(
                sql=QUALIFIED_LEADS, leads_conn_id=LEADS, webhook_conn_id=INTEGRATION
            ),
        )
    ],
)

with DAG(
    dag_id="zbl_event_driven",
    description="Sends leads to an integration seconds after they qualify",
    doc_md=__doc__,
    schedule=[qualified_leads],
    catchup=False,
    max_active_runs=1,  # leads that come meanwhile share the next run
    is_paused_upon_creation=True,  # no lead leaves before somebody says so
    tags=["zbl", "leads"],
) as dag:
    DispatchLeadsOperator(
        task_id="dispatch_leads",
        sql=QUALIFIED_LEADS,
        leads_conn_id=LEADS,
        webhook_conn_id=INTEGRATION,
        wait_for_retries=False,  # the watcher sees to it that the next attempts are made, too
        retries=2,  # for a lost worker or a database that is down; they add no attempt
        retry_delay=timedelta(minutes=1),
    )
