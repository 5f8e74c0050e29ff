"""Which Dags have leads in the log, and that a query minds them (Contract 7.2)."""

from datetime import timedelta

import pytest
from sqlalchemy import insert

from tests.integration.log.setup import NOON, lead
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import RunKey, Status
from zbl_provider.log.storage import tables

SENDS = {"daily": "zapier", "hourly": "make", "nightly": "zapier"}


@pytest.fixture
def told(setup):
    for dag_id, integration in SENDS.items():
        for n in range(3):
            run = setup.log.begin(RunKey(dag_id, "send", f"r{n}"), integration, 0, NOON)
            setup.log.enrol(run, integration, [lead(f"{dag_id}-{n}")], NOON)
    return setup.log


def test_the_dags_of_the_log_are_known(told):
    """Each Dag that has enrolled a lead is named, once (Contract 7.2)."""
    assert told.reader.dags() == set(SENDS)


def test_the_dags_that_send_to_an_integration_are_known(told):
    """Who may hold an integration depends on all Dags that send to it (Contract 7.2)."""
    assert told.reader.dags(integration="zapier") == {"daily", "nightly"}
    assert told.reader.dags(integration="unknown") == set()


def test_the_dags_of_all_integrations_are_known_at_once(told):
    """What the list of integrations wants is one question, not one for each (Contract 8.4)."""
    assert told.reader.dags_by_integration() == {"zapier": {"daily", "nightly"}, "make": {"hourly"}}


@pytest.mark.parametrize("dags", [{"daily"}, {"hourly", "nightly"}, set()])
def test_the_leads_of_some_dags_are_counted_by_integration(told, dags):
    """As the funnel of each integration counts them, in one question (Contract 7.2, 8.4)."""
    counts = told.reader.counts_by_integration(NOON, dags)
    for name in SENDS.values():
        query = Query(integration=name, since=NOON, dags=frozenset(dags))
        assert counts.get(name, {}) == told.reader.funnel(query)
    assert told.reader.counts_by_integration(NOON + timedelta(days=1), dags) == {}


def test_an_empty_log_knows_no_dag(setup):
    """Where nothing was enrolled, there is no Dag to read (Contract 7.2)."""
    assert setup.log.reader.dags() == set()


def test_a_dag_is_found_among_very_many_runs(setup):
    """Runs are leapt over, not read: a Dag with thousands costs what one with a few does (7.2)."""
    row = {"task_id": "t", "map_index": -1, "epoch": 0, "created_at": NOON, "integration": "make"}
    rows = [row | {"dag_id": f"dag-{n % 2}", "run_id": f"r{n}"} for n in range(5000)]
    with setup.log._engine.begin() as connection:
        connection.execute(insert(tables.run), rows)
    assert setup.log.reader.dags() == {"dag-0", "dag-1"}


def test_the_dags_of_some_leads_are_known(told):
    """Who may resend leads depends on the Dags that enrolled them (Contract 7.2)."""
    rows = told.reader.deliveries(Query()).rows
    chosen = [row.delivery_id for row in rows if row.run.dag_id != "hourly"]
    assert told.reader.dags_of(chosen) == {"daily", "nightly"}
    assert told.reader.dags_of([]) == set()


@pytest.mark.parametrize("dags", [{"daily"}, {"hourly", "nightly"}, set()])
def test_a_query_finds_and_counts_nothing_of_other_dags(told, dags):
    """Neither list, funnel nor resend goes beyond the Dags that were given (Contract 7.2)."""
    query = Query(dags=frozenset(dags))
    rows = told.reader.deliveries(query).rows
    assert {row.run.dag_id for row in rows} == dags
    assert sum(told.reader.funnel(query).values()) == 3 * len(dags)
    with told._engine.begin() as connection:
        error = {"status": Status.ERROR, "due_at": None}
        connection.execute(tables.delivery.update().values(error))
    assert told.resendable(query) == told.resend(query, NOON).count == 3 * len(dags)
