"""A Dag with a mistake: a wait before now."""

from airflow.sdk import DAG

from zbl_provider.operators.dispatch import DispatchLeadsOperator

with DAG(dag_id="negative_wait", schedule=None):
    DispatchLeadsOperator(
        task_id="send",
        sql="SELECT * FROM leads",
        leads_conn_id="leads",
        schedule=(60, -1),
    )
