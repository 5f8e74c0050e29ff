"""
Send one lead, as soon as an application asks for it through Airflow's REST API.

The application passes the lead's id, and this Dag reads the row. So no personal data gets into
Airflow's own database, which keeps the `conf` of each run in clear until the run is deleted.

```sh
airflow connections import zbl_one_lead.connections.yaml
airflow dags reserialize
airflow dags unpause zbl_one_lead
```

Ask again as often as you like: a lead that was delivered is skipped. A lead that is not there is
looked for again a minute later, and another: its transaction may not have committed yet. Then the
run fails; clear it when the lead is there.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, BaseHook, Param

from zbl_provider.operators.dispatch import DispatchLeadsOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

# The id comes from outside, so the driver binds it: SQLite's mark for that is ?, that of PostgreSQL
# and MySQL is %s.
ONE_LEAD = """
SELECT id, email, name, phone, company, score, status, custom_fields, verifications,
       created_at, qualified_at, list_id, list_name
FROM {{ params.leads_table }}
WHERE id = {{ "?" if conn.get(params.leads_conn_id).conn_type == "sqlite" else "%s" }}
"""


def insist_on_the_lead(context: Context) -> None:
    """Fail the task whose lead is not there: it would be green, and nothing sent."""
    task: Any = context["task"]
    if not BaseHook.get_hook(task.leads_conn_id).get_first(task.sql, task.parameters):
        raise LookupError("The table has no lead of this id")


with DAG(
    dag_id="zbl_one_lead",
    description="Sends the one lead whose id the REST API's caller passes",
    doc_md=__doc__,
    schedule=None,
    max_active_runs=100,  # a run whose lead waits for its next attempt must hold up no other
    is_paused_upon_creation=True,  # no lead leaves before somebody says so
    tags=["zbl", "leads"],
    params={
        "lead_id": Param(type="string", pattern=r"^[\w-]{1,64}$", title="Id of the lead"),
        "leads_conn_id": Param("zbl_leads", type="string", title="Connection of the leads"),
        "webhook_conn_id": Param("crm", type="string", title="Integration"),
        "leads_table": Param(
            "leads", type="string", pattern=r"^[A-Za-z_][\w.]*$", title="Table of the leads"
        ),
    },
) as dag:
    DispatchLeadsOperator(
        task_id="dispatch_lead",
        sql=ONE_LEAD,
        parameters=["{{ params.lead_id }}"],
        leads_conn_id="{{ params.leads_conn_id }}",
        webhook_conn_id="{{ params.webhook_conn_id }}",
        pre_execute=insist_on_the_lead,
        retries=2,  # for a lost worker, a database that is down, a lead that is not there yet
        retry_delay=timedelta(minutes=1),
    )
