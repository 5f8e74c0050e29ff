"""How the databases find what is due: beside many settled leads it must stay cheap."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import event, insert, text

from tests.integration.log.setup import LEASE, NOON, ZAPIER, delivered, lead
from zbl_provider.log.browse import reader
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import Status
from zbl_provider.log.storage import tables

SETTLED = 3000
DUE = 20


@pytest.fixture
def crowded(setup):
    """Give a log with many settled leads of many runs, and a few that are due."""

    def row(n, **values):
        return {
            "integration": ZAPIER,
            "lead_id": f"{n}",
            "webhook_id": f"msg_{n}",
            "status": Status.DELIVERED,
            "fingerprint": "f1",
            "attempts": 1,
            "resend": 0,
            "due_at": None,
            "run_id": n // 100,
            "created_at": NOON,
            "updated_at": NOON,
            "delivered_at": NOON + timedelta(seconds=n),
            "payload": b"\0{}",
            **values,
        }

    rows = [row(n) for n in range(SETTLED)]
    rows += [
        row(n, status=Status.PENDING, due_at=NOON, attempts=0, delivered_at=None)
        for n in range(SETTLED, SETTLED + DUE)
    ]
    with setup.log._engine.begin() as connection:
        connection.execute(insert(tables.delivery), rows)
    with setup.log._engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    return setup


def plans(setup, act):
    """Return how the database carries out each statement on deliveries that the act runs."""
    seen = []

    def note(_connection, _cursor, statement, parameters, _context, _many):
        if "zbl_delivery" in statement and not statement.startswith("INSERT"):
            seen.append((statement, parameters))

    engine = setup.log._engine
    event.listen(engine, "before_cursor_execute", note)
    act()
    event.remove(engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if engine.dialect.name == "sqlite" else "EXPLAIN "
    with engine.connect() as connection:
        return [
            "\n".join(
                str(row) for row in connection.exec_driver_sql(explain + statement, parameters)
            )
            for statement, parameters in seen
        ]


def reads_everything(plan):
    return "Seq Scan on zbl_delivery" in plan or "SCAN zbl_delivery" in plan


def test_a_claim_uses_the_partial_index(crowded):
    """Finding what is due costs the same beside millions of finished leads."""
    run = crowded.run()
    [plan] = plans(crowded, lambda: crowded.log.claim(ZAPIER, 10, NOON, LEASE, run=run))
    assert "zbl_delivery_due" in plan
    assert not reads_everything(plan)
    assert "Sort" not in plan
    assert "ORDER BY" not in plan


def test_outcomes_find_their_leads_by_number_while_the_table_is_small(setup):
    """PostgreSQL keeps a plan it made early: one that reads all would cost more with each lead."""
    run = setup.run()
    setup.enrol(run, *(lead(f"{n}") for n in range(SETTLED)))
    claimed = setup.claim(run)
    for plan in plans(setup, lambda: setup.settle(run, claimed, delivered())):
        assert not reads_everything(plan)
        assert "Bitmap" not in plan


def test_a_purge_uses_the_index_of_what_is_retained(crowded):
    """Retention does not read the whole log each time."""
    [choice, *_] = plans(
        crowded, lambda: crowded.log.purge_payloads(NOON, timedelta(seconds=-30), limit=10)
    )
    assert "zbl_delivery_retained" in choice
    assert not reads_everything(choice)


@pytest.mark.parametrize("question", ["counts", "next_due"])
def test_what_is_asked_of_a_run_uses_its_index(crowded, question):
    """A run looks at its own leads only."""
    run = crowded.run()
    [plan] = plans(crowded, lambda: getattr(crowded.log, question)(run))
    assert "zbl_delivery_run" in plan
    assert not reads_everything(plan)


def test_what_failed_in_a_run_is_found_by_an_index(crowded):
    """Whether the run's index or that of all troubled leads is shorter, the database knows."""
    run = crowded.run()
    [plan] = plans(crowded, lambda: crowded.log.first_failed(run))
    assert "zbl_delivery_run" in plan or "zbl_delivery_troubled" in plan
    assert not reads_everything(plan)


def test_a_watcher_finds_what_is_overdue_by_the_partial_index(crowded):
    """A look every few seconds costs the same however long the log is (Contract 8.2)."""
    later = NOON + timedelta(minutes=1)
    for plan in plans(crowded, lambda: crowded.log.overdue(ZAPIER, later, later)):
        assert "zbl_delivery_due" in plan
        assert not reads_everything(plan)


def test_deleting_old_rows_does_not_read_the_whole_log(crowded):
    """A step of retention walks rows as old as it asks for by their numbers, to its limit."""
    [*_, choice, _of_runs] = plans(
        crowded, lambda: crowded.log.purge_rows(NOON, timedelta(days=365), limit=10)
    )
    # SQLite calls it a scan, but takes the rows by number and ends at the limit: nothing is sorted.
    assert "USING INTEGER PRIMARY KEY" in choice or not reads_everything(choice)
    assert "TEMP B-TREE" not in choice


@pytest.fixture
def skewed(crowded, monkeypatch):
    """Add the runs, a few leads of another integration, first of all, and a few in error."""
    log = crowded.log
    runs = [
        {
            "id": n,
            "dag_id": "dag",
            "task_id": "task",
            "run_id": f"{n}",
            "map_index": -1,
            "integration": "rare" if n == 0 else ZAPIER,
            "epoch": 0,
            "created_at": NOON,
        }
        for n in range(SETTLED // 100 + 1)
    ]
    with log._engine.begin() as connection:
        connection.execute(insert(tables.run), runs)
        connection.execute(
            text("UPDATE zbl_delivery SET integration = 'rare' WHERE run_id = 0 AND id <= 50")
        )
        connection.execute(
            text("UPDATE zbl_delivery SET status = 'error' WHERE id % 300 = 7 AND id <= 3000")
        )
    with log._engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    monkeypatch.setattr(reader, "_NEAR", 100)
    return crowded


def test_the_newest_leads_are_the_end_of_the_primary_key(skewed):
    """The first page costs the same however many leads there are (8.4)."""
    [plan] = plans(skewed, lambda: skewed.log.reader.deliveries(Query()))[1:]
    assert "PRIMARY KEY" in plan or "zbl_delivery_pkey" in plan
    assert "Sort" not in plan
    assert not reads_everything(plan)


@pytest.mark.parametrize("status", [Status.ERROR, Status.INVALID, Status.FILTERED])
def test_what_is_in_trouble_is_found_by_its_index(skewed, status):
    """Leads in error are found at once among very many that are delivered (8.4)."""
    [plan] = plans(skewed, lambda: skewed.log.reader.deliveries(Query(status=status)))[2:] or [""]
    assert "zbl_delivery_troubled" in plan
    assert not reads_everything(plan)


def test_what_waits_is_found_by_its_index(skewed):
    """Leads that wait are found at once among very many that are settled (8.4)."""
    [numbers, *_] = plans(
        skewed, lambda: skewed.log.reader.deliveries(Query(status=Status.RETRYING))
    )[2:]
    assert "zbl_delivery_due" in numbers or "zbl_delivery_troubled" in numbers


@pytest.mark.parametrize(
    "query", [Query(integration="rare"), Query(run_id="0"), Query(dags=frozenset({"other"}))]
)
def test_a_rare_integration_is_found_through_its_runs(skewed, query):
    """The leads of an integration with few of them are gathered, not sought (8.4)."""
    numbers = plans(skewed, lambda: skewed.log.reader.deliveries(query))[2]
    assert "zbl_delivery_run" in numbers
    assert not reads_everything(numbers)


def test_all_in_error_are_counted_by_their_index(skewed):
    """How many would be resent is known without reading the log (8.4)."""
    [plan] = plans(skewed, lambda: skewed.log.resendable(Query()))
    assert "zbl_delivery_troubled" in plan
    assert not reads_everything(plan)


@pytest.mark.parametrize("question", ["deliveries", "funnel"])
def test_a_person_is_found_by_the_index_of_emails(skewed, question):
    """The few leads of a person are found at once among very many others (8.8)."""
    with skewed.log._engine.begin() as connection:
        connection.execute(text("UPDATE zbl_delivery SET email_hash = id WHERE id % 2 = 0"))
    with skewed.log._engine.begin() as connection:
        connection.execute(text("ANALYZE"))
    query = Query(email_hashes=(8, 9, -1))
    ask = getattr(skewed.log.reader, question)
    [plan] = plans(skewed, lambda: ask(query))
    assert "zbl_delivery_email" in plan
    assert not reads_everything(plan)


def test_a_lead_is_found_by_its_webhook_ids(skewed):
    """One lead's id finds its deliveries at once, though no index has it (8.4)."""
    skewed.log.hold(ZAPIER, "somebody", NOON)  # now the log knows the name
    [plan] = plans(skewed, lambda: skewed.log.reader.deliveries(Query(lead_id="7")))
    assert "webhook_id" in plan
    assert not reads_everything(plan)
