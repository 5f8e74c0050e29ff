"""What OpenLineage's own extractor gets of the operators."""

import json

import pytest
from airflow.providers.openlineage.extractors.base import DefaultExtractor
from sqlalchemy import make_url

from tests.support.databases import postgres
from zbl_provider.operators.dispatch import DispatchLeadOperator, DispatchLeadsOperator

__all__ = ["postgres"]


@pytest.fixture
def crm(postgres, monkeypatch):
    """Give the id of a connection to a PostgreSQL database."""
    url = make_url(postgres)
    fields = {"host": url.query["host"], "login": url.username, "schema": url.database}
    monkeypatch.setenv("AIRFLOW_CONN_CRM", json.dumps({"conn_type": "postgres", **fields}))
    return "crm"


def _extract(operator):
    return DefaultExtractor(operator).extract()


def test_lineage_goes_from_tables_to_a_host(crm, receiver):
    """Inputs are the query's tables, the output is scheme and host, without a path (1.5)."""
    sql = "SELECT l.* FROM sales.leads l JOIN lists ON lists.id = l.list_id WHERE name = 'marker'"
    lineage = _extract(DispatchLeadsOperator(task_id="send", sql=sql, leads_conn_id=crm))
    names = sorted(table.name.partition(".")[2] for table in lineage.inputs)
    assert names == ["public.lists", "sales.leads"]
    assert all(table.namespace.startswith("postgres://") for table in lineage.inputs)
    (output,) = lineage.outputs
    assert (output.namespace, output.name) == (receiver.url, "zbl_webhook_default")
    assert not any(text in repr(lineage) for text in ("is-secret", "marker"))


def test_one_lead_has_no_table(receiver):
    """What was handed to the task comes from nowhere, and nothing of it is told (4.3)."""
    lineage = _extract(DispatchLeadOperator(task_id="send", lead={"id": 1, "name": "marker"}))
    assert lineage.inputs == []
    assert lineage.outputs[0].namespace == receiver.url
    assert "marker" not in repr(lineage)


def test_a_database_that_has_no_names_for_openlineage_is_left_out(leads, receiver):
    """SQLite's hook knows none; a connection that is not there costs no more than that."""
    for conn_id in ("zbl_leads", "nowhere"):
        operator = DispatchLeadsOperator(
            task_id="send", sql="SELECT * FROM leads", leads_conn_id=conn_id
        )
        lineage = _extract(operator)
        assert (lineage.inputs, len(lineage.outputs)) == ([], 1)
