"""Dags of the benchmark of tasks that wait: each task has one lead."""

from __future__ import annotations

import os

from airflow.sdk import DAG

from zbl_provider.operators.dispatch import DispatchLeadOperator

LEADS = [
    {"id": str(n), "email": f"ana.{n}@example.com", "status": "qualified"}
    for n in range(int(os.environ["BENCHMARK_TASKS"]))
]

# The other one's tasks are made, and deferred, without it: a Dag that held all of their leads would
# be read by the triggerer again and again.
for name, leads in (("whole", LEADS), ("deferred", LEADS[:1])):
    with DAG(name, schedule=None, is_paused_upon_creation=name == "deferred"):
        DispatchLeadOperator.partial(
            task_id="send", webhook_conn_id="crm", schedule=(60, 120, 120, 120), retries=2
        ).expand(lead=leads)
