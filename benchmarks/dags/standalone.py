"""Dags of the benchmark in a real Airflow: one task for all leads, one task each, and a wait."""

from __future__ import annotations

import json
import os
from pathlib import Path

from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG

from zbl_provider.operators.dispatch import DispatchLeadsOperator

SQL = "SELECT * FROM leads"
INTEGRATION = "{{ dag_run.conf['integration'] }}"  # a new one for each run: none has its leads yet

with DAG("bench_bulk", schedule=None):
    DispatchLeadsOperator(
        task_id="send", sql=SQL, leads_conn_id="leads", webhook_conn_id=INTEGRATION, retries=2
    )

with DAG("bench_waiting", schedule=None):
    DispatchLeadsOperator(
        task_id="send",
        sql=SQL,
        leads_conn_id="leads",
        webhook_conn_id=INTEGRATION,
        schedule=(float(os.environ["BENCHMARK_WAIT"]),),
        retries=2,
    )

with DAG("bench_mapped", schedule=None):
    HttpOperator.partial(
        task_id="post",
        http_conn_id="peer",
        endpoint="hook",
        headers={"Content-Type": "application/json"},
    ).expand(data=json.loads(Path(os.environ["BENCHMARK_BODIES"]).read_text()))
