"""One real Airflow, one HTTPS receiver and real databases for all system tests."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from tests.support.airflow import Airflow
from tests.support.commands import ROOT
from tests.support.databases import empty_database, postgres
from tests.support.examples import Examples
from tests.support.receiver import Received, Receiver, Reply
from tests.support.statsd import Statsd
from tests.system.case import EMAIL, Case, Scenario, Stage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["postgres"]

HERE = Path(__file__).parent


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "scenario(Scenario): what is to happen for a test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder; they share one Airflow, so run them in one process."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.system)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory, postgres: str) -> Iterator[Stage]:
    """Yield the running Airflow and all around it."""
    folder = tmp_path_factory.mktemp("system")
    home = folder / "airflow"
    answers = {}

    def answer(request: Received) -> Reply:
        reply = answers.get(request.path)
        return reply(request) if reply else Reply(404)

    options = {
        "AIRFLOW__ZBL__ALLOWED_NETWORKS": "127.0.0.0/8, ::1/128",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "12",
        # What is in no log now is in none at any level.
        "AIRFLOW__LOGGING__LOGGING_LEVEL": "DEBUG",
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(
            [_bundle("scenarios", HERE / "dags"), _bundle("examples", ROOT / "dags")]
        ),
    }
    with (
        Receiver(answer) as receiver,
        Statsd() as statsd,
        # Not SQLite: under forty Dags at once Airflow's own requests wait for each other's locks.
        empty_database(postgres) as metadata,
        Airflow(
            home, HERE / "dags", database=metadata, options=options | statsd.options
        ) as airflow,
    ):
        yield Stage(
            airflow=airflow,
            rest=airflow.rest,
            receiver=receiver,
            statsd=statsd,
            answers=answers,
            databases={
                "leads": f"sqlite:///{folder / 'leads.db'}",
                "log": f"sqlite:///{home / 'zbl_delivery_log.db'}",
                "metadata": metadata,
                "pg_leads": postgres,
                "pg_log": postgres,
            },
            authority=str(receiver.write_authority(folder / "ca.pem")),
        )


def _bundle(name: str, folder: Path) -> dict[str, object]:
    kind = "airflow.dag_processing.bundles.local.LocalDagBundle"
    return {"name": name, "classpath": kind, "kwargs": {"path": str(folder)}}


@pytest.fixture(scope="session")
def cases(stage: Stage, request: pytest.FixtureRequest) -> dict[str, Case]:
    """Prepare and start the scenarios of all selected tests."""
    rest = stage.rest
    rest.create_connection("leads", "sqlite", host=stage.databases["leads"].partition("///")[2])
    for name in ("pg_leads", "pg_log"):
        url = make_url(stage.databases[name])
        fields = {"host": url.query["host"], "login": url.username, "schema": url.database}
        rest.create_connection(name, "postgres", **fields)
    marks = [mark for item in request.session.items for mark in item.iter_markers("scenario")]
    scenarios = {id(mark.args[0]): mark.args[0] for mark in marks}.values()
    cases = {scenario.name: Case(scenario, stage) for scenario in scenarios}
    for case in cases.values():
        case.prepare()
    for case in cases.values():
        if case.scenario.start:
            case.start()
        elif case.scenario.during:
            case.watch()
    if any("examples" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("examples")
    return cases


@pytest.fixture
def case(cases: dict[str, Case], request: pytest.FixtureRequest) -> Case:
    """Return the case of the test's scenario."""
    scenario: Scenario = request.node.get_closest_marker("scenario").args[0]
    return cases[scenario.name]


@pytest.fixture
def zbl(case: Case) -> Callable[..., str]:
    """Run a command as in a shell of the machine that Airflow is on."""

    def run(*words: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "airflow", "zbl", *words],
            # At DEBUG, which other tests need, Airflow logs to where its commands answer.
            env=case.stage.airflow.environment | {"AIRFLOW__LOGGING__LOGGING_LEVEL": "INFO"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        assert EMAIL not in done.stdout + done.stderr
        return done.stdout if code == 0 else done.stderr

    return run


@pytest.fixture(scope="session")
def examples(stage: Stage) -> Examples:
    """Set up and unpause the Dags of `dags/`, whose runs then go side by side."""
    leads, broken = stage.databases["pg_leads"], {"n8n", "newsletter"}
    examples = Examples(stage.airflow, stage.receiver, stage.authority, leads, broken)
    examples.create_table()
    examples.qualify("1042", score=90, phone="+5511999999999", list_="Google Ads Campaign")
    examples.qualify("1043", score=75)
    examples.qualify("1044", score=10)
    examples.set_up()
    return examples
