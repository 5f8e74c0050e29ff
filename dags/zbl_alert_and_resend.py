"""
Every hour, send the leads that have qualified; tell people at once when some could not be sent.

The alert goes by HTTPS, too: to a Zap or a scenario that writes to your chat, say, or to an on-call
service. It says which integration, how many leads, what was answered, and where to look.

```sh
airflow connections import zbl_alert_and_resend.connections.yaml
airflow dags reserialize
airflow dags unpause zbl_alert_and_resend
```

To resend: fix the cause, open the alert's `url` and press Clear. The leads in error get five new
attempts; those delivered stay delivered. Later runs don't touch the leads in error, since it takes
a person to fix a configuration, and go on with what is new.
"""

from __future__ import annotations

from datetime import timedelta

import pendulum
from airflow.sdk import DAG, Param

from zbl_provider.notifications.webhook import WebhookNotifier
from zbl_provider.operators.dispatch import DispatchLeadsOperator

with DAG(
    dag_id="zbl_alert_and_resend",
    description="Sends qualified leads, and an alert about those that could not be sent",
    doc_md=__doc__,
    schedule=timedelta(hours=1),
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    catchup=False,
    max_active_runs=16,
    is_paused_upon_creation=True,  # no lead leaves before somebody says so
    tags=["zbl", "leads"],
    params={
        "leads_conn_id": Param("zbl_leads", type="string", title="Connection of the leads"),
        "webhook_conn_id": Param("newsletter", type="string", title="Integration"),
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
        # The operator's exceptions hold ids and reasons, and no personal data.
        on_failure_callback=WebhookNotifier(
            webhook_conn_id="zbl_alerts", message="{{ exception }}"
        ),
    )
