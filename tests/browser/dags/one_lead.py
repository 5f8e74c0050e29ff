"""Sends the lead that it is triggered with."""

from airflow.sdk import DAG

from zbl_provider.operators.dispatch import DispatchLeadOperator

with DAG("one_lead", schedule=None):
    DispatchLeadOperator(
        task_id="to_sales", lead="{{ dag_run.conf.lead | tojson }}", webhook_conn_id="sales"
    )
