"""One Airflow on four machines, and all that they share."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import make_url

from benchmarks.nginx import running_nginx
from tests.machines.cluster import SLOTS, Cluster, running_redis, wait
from tests.support.airflow import Airflow
from tests.support.databases import empty_database, running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.machines)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """Yield the machines once they run."""
    with (
        tempfile.TemporaryDirectory(prefix="zbl-machines-") as name,
        running_redis(Path(name)) as redis,
        running_nginx(log=True) as nginx,
        running_postgres(Path(name) / "postgres") as server,
        empty_database(server) as metadata,
        empty_database(server) as leads,
        empty_database(server) as log,
    ):
        home = Path(name) / "control"
        options = _options(redis, metadata)
        with Airflow(home, HERE / "dags", database=metadata, options=options) as airflow:
            databases = {"metadata": metadata, "leads": leads, "log": log}
            cluster = Cluster(airflow, databases, nginx)
            for n in (1, 2):
                node = f"worker-{n}@%h"
                cluster.add(f"worker {n}", "celery", "worker", "--celery-hostname", node)
            cluster.add("triggerer 2", "triggerer")
            _connect(cluster)
            wait("two workers and two triggerers", lambda: _all_there(cluster), 120)
            yield cluster


def _options(redis: int, metadata: str) -> dict[str, str]:
    return {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{redis}/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{metadata}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(SLOTS),
        # What is lost is to be noticed within a test's time.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "12",
        "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
        "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "8",
        "AIRFLOW__ZBL__ALLOWED_NETWORKS": "127.0.0.0/8, ::1/128",
    }


def _connect(cluster: Cluster) -> None:
    rest = cluster.airflow.rest
    for name in ("leads", "log"):
        url = make_url(cluster.databases[name])
        fields = {"host": url.query["host"], "login": url.username, "schema": url.database}
        rest.create_connection(name, "postgres", **fields)
    for name in ("zapier", "make", "crm"):
        host = cluster.nginx.closed_url if name == "crm" else cluster.nginx.url
        rest.create_connection(
            name, "zbl_webhook", host=host, extra={"verify": cluster.nginx.authority}
        )


def _all_there(cluster: Cluster) -> bool:
    ready = ["ready." in (cluster.airflow.logs / f"worker {n}.log").read_text() for n in (1, 2)]
    triggerers = cluster.select(
        "metadata", "SELECT id FROM job WHERE job_type = 'TriggererJob' AND state = 'running'"
    )
    return all(ready) and len(triggerers) == 2
