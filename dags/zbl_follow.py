"""
Send leads within a second or so after they qualify, for people who call them back at once.

One task stays for an hour and looks at the table every second; when it ends, the next run goes on
where it was. It takes one worker slot. Retries go out from the same task when they are due.

```sh
airflow connections import zbl_follow.connections.yaml
airflow dags reserialize
airflow dags unpause zbl_follow
```

The run is red if any lead of its hour ended in error: fix the cause, and send those leads again on
the page Lead deliveries.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from zbl_provider.operators.dispatch import DispatchLeadsOperator

# Read every second: give qualified_at an index, and look back no further than an outage may last.
# PostgreSQL's clock; SQLite says datetime('now', '-6 hours').
QUALIFIED_LEADS = """
SELECT id, email, name, phone, company, score, status, custom_fields, verifications,
       created_at, qualified_at, list_id, list_name
FROM leads
WHERE status = 'qualified' AND qualified_at >= now() - interval '6 hours'
ORDER BY qualified_at
"""

with DAG(
    dag_id="zbl_follow",
    description="Sends leads to an integration within a second or so after they qualify",
    doc_md=__doc__,
    schedule="@continuous",
    max_active_runs=1,
    catchup=False,
    is_paused_upon_creation=True,  # no lead leaves before somebody says so
    tags=["zbl", "leads"],
) as dag:
    DispatchLeadsOperator(
        task_id="dispatch_leads",
        sql=QUALIFIED_LEADS,
        leads_conn_id="zbl_leads",
        webhook_conn_id="callback",
        follow=timedelta(hours=1),
        poll_interval=1,
        retries=2,  # for a lost worker or a database that is down; they add no attempt
        retry_delay=timedelta(seconds=10),
    )
