"""The demo's leads, odd rows included, become what the demo says that they must."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from rich.console import Console

from demo import leads, report, world
from zbl_provider.dispatch.choice import Choice
from zbl_provider.dispatch.intake import candidate
from zbl_provider.hooks.leads_query import LeadsQuery
from zbl_provider.hooks.webhook import WebhookHook

QUERIES = {
    "crm": ("SELECT * FROM leads", None),
    "brazil_team": ("SELECT * FROM leads WHERE country = :country", {"country": "BR"}),
    "call_center": ("SELECT * FROM leads WHERE phone IS NOT NULL", None),
}


def _judged(integration, database, monkeypatch):
    """Judge the query's rows in batches, as a task does."""
    connection = {
        "conn_type": "zbl_webhook",
        "host": f"https://receiver.test{integration.path}",
        "extra": integration.extra,
    }
    monkeypatch.setenv("AIRFLOW_CONN_LEADS", json.dumps({"conn_type": "sqlite", "host": database}))
    monkeypatch.setenv("AIRFLOW_CONN_HERE", json.dumps(connection))
    sql, parameters = QUERIES[integration.name]
    query = LeadsQuery(
        sql=sql, parameters=parameters, leads_conn_id="leads", webhook_conn_id="here"
    )
    destination, choice = WebhookHook("here").destination, Choice()
    rows = [candidate(lead, destination) for lead in query.leads()]
    batches = [choice.take(rows[start : start + 50]) for start in range(0, len(rows), 50)]
    return {lead.lead_id: lead for batch in (*batches, *choice.rest(500)) for lead in batch}


@pytest.mark.parametrize(
    "integration", world.INTEGRATIONS, ids=lambda integration: integration.name
)
def test_the_demos_leads(integration, tmp_path, monkeypatch):
    """A lead in two lists passes, a row given twice is one lead, bad text is invalid (4.8, 4.9)."""
    database = tmp_path / "leads.db"
    leads.write(database)
    judged = _judged(integration, str(database), monkeypatch)
    expected = integration.expected(database)
    counts = Counter(str(lead.status) for lead in judged.values())
    assert counts["filtered"] == expected.filtered
    assert counts["invalid"] == expected.invalid
    to_send = {lead_id for lead_id, lead in judged.items() if str(lead.status) == "pending"}
    assert to_send - {leads.REFUSED} == expected.delivered


def test_the_table_of_odd_rows():
    """The demo shows what became of each odd row, for each integration."""
    console = Console(record=True, width=120)
    entries = [report.Entry("crm", leads.UNDECODABLE, "invalid", "", 0)]
    console.print(report.odd_rows(entries))
    shown = console.export_text()
    assert all(lead_id in shown for lead_id in leads.ODD)
    assert "invalid" in shown
    assert "not selected" in shown
