"""Every Dag of `dags/` runs as it stands (Contract 8.5)."""

import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import create_engine, make_url, text

from tests.support.commands import EXAMPLES, ROOT, commands, documentation
from tests.support.databases import postgres
from tests.support.examples import TABLE

__all__ = ["postgres"]

NOW = datetime.now(UTC)
INTEGRATIONS = ("zapier", "make", "n8n", "internal_api")
PARSE = """
import sys, warnings
warnings.simplefilter("error")
import airflow.sdk.execution_time.context  # its own warnings are not ours
from airflow.dag_processing.dagbag import DagBag
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
assert not bag.captured_warnings, bag.captured_warnings
"""


def _row(lead_id: int, age: timedelta, status: str = "qualified") -> dict:
    qualified_at = (NOW - age).strftime("%Y-%m-%d %H:%M:%S")
    return {
        "id": lead_id,
        "email": f"{lead_id}@example.com",
        "status": status,
        "qualified_at": qualified_at,
        "custom_fields": '{"city": "São Paulo"}',
    }


def _sent(receiver) -> list[str]:
    return sorted(request.lead_id for request in receiver.received)


def test_they_are_parsed_without_a_warning():
    """Airflow shows nothing to someone who has just copied them."""
    subprocess.run(
        [sys.executable, "-c", PARSE, str(ROOT / "dags")], check=True, capture_output=True
    )


@pytest.mark.parametrize("file", EXAMPLES, ids=lambda path: path.stem)
def test_each_has_safe_defaults(example_dags, file):
    """It comes paused, catches up with nothing, says what it needs, and survives lost workers."""
    dag = example_dags.dags[file.stem]
    assert dag.is_paused_upon_creation
    assert not dag.catchup
    assert f"airflow dags unpause {dag.dag_id}\n" in dag.doc_md
    assert dag.description
    (dispatching,) = [task for task in dag.tasks if task.task_id.startswith("dispatch")]
    assert dispatching.retries == 2


def test_the_documentation_has_the_commands_of_the_dags():
    """What docs/examples.md tells people to type is what each Dag says, and tests type."""
    of_the_dags = {line for file in EXAMPLES for line in commands(documentation(file))}
    documented = commands((ROOT / "docs/examples.md").read_text())
    assert {line for line in documented if line.startswith("airflow ")} == of_the_dags


def test_the_scheduled_pull_sends_what_qualified_lately(example_dags, leads, receiver):
    """It looks back from its data interval: late rows are found, old ones are not sent."""
    leads(
        _row(1, timedelta(minutes=1)),
        _row(2, timedelta(hours=23)),
        _row(3, timedelta(days=9)),
        _row(4, timedelta(minutes=1), status="new"),
    )
    run = example_dags.dags["zbl_scheduled_pull"].test(logical_date=NOW)
    assert run.state == "success"
    assert _sent(receiver) == ["1", "2"]


def test_the_scheduled_pull_runs_when_triggered_by_hand(example_dags, leads, receiver):
    """Without a data interval, as Airflow 3 triggers by hand, it looks back from now."""
    leads(_row(1, timedelta(minutes=1)))
    run = example_dags.dags["zbl_scheduled_pull"].test(logical_date=None)
    assert run.state == "success"
    assert _sent(receiver) == ["1"]


@pytest.fixture
def connected(receiver, monkeypatch):
    """Give a function that makes integrations like the default one."""

    def connect(*names):
        for name in names:
            like = os.environ["AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT"]
            monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", like)

    return connect


@pytest.fixture
def far_away(postgres, monkeypatch):
    """Give a table of leads in a PostgreSQL whose clock is three hours behind UTC."""
    url = make_url(postgres)
    connection = {
        "conn_type": "postgres",
        "host": url.query["host"],
        "login": url.username,
        "schema": url.database,
        "extra": {"options": "-c timezone=America/Sao_Paulo"},
    }
    monkeypatch.setenv("AIRFLOW_CONN_ZBL_LEADS", json.dumps(connection))
    engine = create_engine(postgres, isolation_level="AUTOCOMMIT")
    with engine.connect() as database:
        database.execute(text(TABLE))
        yield database
        database.execute(text("DROP TABLE leads"))
    engine.dispose()


def test_the_look_back_is_as_long_wherever_the_database_is(example_dags, far_away, receiver):
    """The query names its time zone, so that a database's own shortens no look-back."""
    far_away.execute(
        text("INSERT INTO leads (id, status, qualified_at) VALUES ('1', 'qualified', :at)"),
        {"at": NOW - timedelta(hours=23)},
    )
    run = example_dags.dags["zbl_scheduled_pull"].test(logical_date=NOW)
    assert run.state == "success"
    assert _sent(receiver) == ["1"]


def test_the_fan_out_runs_on_sqlite(example_dags, leads, receiver, connected):
    """Each integration gets the lead once."""
    connected(*INTEGRATIONS)
    leads(_row(1, timedelta(minutes=1)))
    run = example_dags.dags["zbl_fan_out"].test(logical_date=NOW)
    assert run.state == "success"
    assert _sent(receiver) == ["1"] * len(INTEGRATIONS)


def test_the_follow_dag_runs(example_dags, far_away, receiver, connected, monkeypatch):
    """It sends what is there, and ends well when its time is over (Contract 4.12)."""
    connected("callback")
    dag = example_dags.dags["zbl_follow"]
    monkeypatch.setattr(dag.get_task("dispatch_leads"), "follow", timedelta(seconds=3))
    far_away.execute(
        text("INSERT INTO leads (id, status, qualified_at) VALUES ('1', 'qualified', now())")
    )
    assert dag.test(logical_date=NOW).state == "success"
    assert _sent(receiver) == ["1"]


def test_one_lead_runs_on_sqlite(example_dags, leads, receiver, connected):
    """SQLite's mark for a bound value is another than PostgreSQL's."""
    connected("crm")
    leads(
        _row(1, timedelta(days=9)) | {"id": "lead-1"},
        _row(2, timedelta(days=9)) | {"id": "lead-2"},
    )
    run = example_dags.dags["zbl_one_lead"].test(run_conf={"lead_id": "lead-2"})
    assert run.state == "success"
    assert _sent(receiver) == ["lead-2"]
