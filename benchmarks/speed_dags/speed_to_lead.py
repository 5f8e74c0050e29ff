"""Dags of the benchmark of how soon a lead leaves: a watcher, a task that follows, and a peer."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.http.operators.http import HttpOperator
from airflow.sdk import DAG, Asset, AssetWatcher

from zbl_provider.operators.dispatch import DispatchLeadsOperator
from zbl_provider.triggers.leads import QualifiedLeadTrigger


def query(way: str) -> dict[str, Any]:
    """Return the leads of one way, and where they go."""
    sql = f"""
        SELECT id, email, name, phone, score, status, custom_fields, qualified_at FROM leads
        WHERE way = '{way}' AND qualified_at >= now() - interval '1 hour' ORDER BY qualified_at
    """
    return {"sql": sql, "leads_conn_id": "leads", "webhook_conn_id": way}


for seconds in (5, 1):
    way = f"watcher_{seconds}"
    trigger = QualifiedLeadTrigger(**query(way), poll_interval=seconds)
    with DAG(
        way,
        schedule=[Asset(way, watchers=[AssetWatcher(name=way, trigger=trigger)])],
        catchup=False,
        max_active_runs=1,
        is_paused_upon_creation=True,
    ):
        DispatchLeadsOperator(task_id="send", **query(way), wait_for_retries=False)

with DAG(
    "follow",
    schedule="@continuous",
    catchup=False,
    max_active_runs=1,
    is_paused_upon_creation=True,
):
    DispatchLeadsOperator(task_id="send", **query("follow"), follow=timedelta(hours=1))

with DAG("http_operator", schedule=None, catchup=False, is_paused_upon_creation=True):
    HttpOperator(
        task_id="post",
        http_conn_id="peer",
        endpoint="/http_operator",
        headers={"Content-Type": "application/json"},
        data="{{ dag_run.conf['body'] }}",
    )
