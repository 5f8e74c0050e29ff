"""Every Dag of `dags/` runs as it stands (Contract 8.5)."""

from datetime import UTC, datetime, timedelta

import pytest

NOW = datetime.now(UTC)


@pytest.fixture
def dag(example_dags):
    return example_dags.dags["zbl_scheduled_pull"]


def _row(number: int, age: timedelta, status: str = "qualified") -> dict:
    qualified_at = (NOW - age).strftime("%Y-%m-%d %H:%M:%S")
    return {
        "id": number,
        "email": f"{number}@example.com",
        "status": status,
        "qualified_at": qualified_at,
        "custom_fields": '{"city": "São Paulo"}',
    }


def test_the_scheduled_pull_sends_what_qualified_lately(dag, leads, receiver):
    """It looks back from its data interval: late rows are found, old ones are not sent."""
    leads(
        _row(1, timedelta(minutes=1)),
        _row(2, timedelta(hours=23)),
        _row(3, timedelta(days=9)),
        _row(4, timedelta(minutes=1), status="new"),
    )
    run = dag.test(logical_date=NOW)
    assert run.state == "success"
    assert sorted(request.lead_id for request in receiver.received) == ["1", "2"]


def test_the_scheduled_pull_runs_when_triggered_by_hand(dag, leads, receiver):
    """Without a data interval, as Airflow 3 triggers by hand, it looks back from now."""
    leads(_row(1, timedelta(minutes=1)))
    run = dag.test(logical_date=None)
    assert run.state == "success"
    assert [request.lead_id for request in receiver.received] == ["1"]
