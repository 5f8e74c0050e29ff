"""An Airflow on several machines: a control machine, workers and triggerers with their own homes.

A machine is a home, a log server's port and processes of its own. All that it shares with the
others are databases, Redis and the folder of Dags.
"""

from __future__ import annotations

import subprocess
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil
import psycopg
from sqlalchemy import make_url

from tests.support.airflow import Airflow, free_ports
from tests.support.rest import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from benchmarks.nginx import Nginx

SLOTS = 3  # tasks at once on a worker


@contextmanager
def running_redis(folder: Path) -> Iterator[int]:
    """Run Redis, which keeps nothing on disk, for as long as the block lasts; give its port."""
    with free_ports(1) as (port,):
        pass
    command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    process = subprocess.Popen([*command, "--dir", str(folder), "--loglevel", "warning"])
    try:
        yield port
    finally:
        process.terminate()
        process.wait()


@dataclass
class Cluster:
    """
    The running machines.

    :param airflow: the control machine: scheduler, Dag processor, API server and a triggerer; the
        other machines' parts are among its own, so that it stops them, too
    :param databases: URLs of ``metadata``, ``leads`` and ``log``
    :param nginx: the destinations, with a file that has a line for each answer
    """

    airflow: Airflow
    databases: dict[str, str]
    nginx: Nginx

    def add(self, name: str, *command: str) -> None:
        """Start a machine that runs one command of Airflow's."""
        home = self.airflow.home.parent / name
        home.mkdir()
        with free_ports(2) as (worker_logs, trigger_logs):
            own = {
                "AIRFLOW_HOME": str(home),
                "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": str(worker_logs),
                "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": str(trigger_logs),
            }
        self.airflow.start(name, command=command, environment=own)

    def kill(self, name: str) -> None:
        """Pull a machine's plug: SIGKILL for its processes, and for the tasks that they run."""
        part = self.airflow.parts.pop(name)
        processes = [part, *part.children(recursive=True)]
        for process in processes:
            process.suspend()  # or a parent would tell of its children's end
        for process in [*processes, *part.children(recursive=True)]:
            process.kill()
        psutil.wait_procs(processes, timeout=10)

    def select(self, database: str, query: str) -> list[tuple[Any, ...]]:
        """Return the rows of a query."""
        url = make_url(self.databases[database]).set(drivername="postgresql")
        plain = url.render_as_string(hide_password=False)
        with closing(psycopg.connect(plain, autocommit=True)) as connection:
            return connection.execute(query).fetchall()

    def delivered(self) -> list[str]:
        """Return the webhook-id of each 200 that a destination has answered."""
        lines = (self.nginx.log.read_text() if self.nginx.log else "").splitlines()
        return [line.removeprefix("200 ") for line in lines if line.startswith("200 ")]

    def states(self, run_id: str, dag_id: str = "three_destinations") -> list[str | None]:
        """Return the states of a run's tasks."""
        return [task["state"] for task in self.airflow.rest.tasks(dag_id, run_id)]

    def task_logs(self, run_id: str) -> str:
        """Return the ends of a run's logs, from all machines."""
        homes = self.airflow.home.parent
        logs = sorted(homes.glob(f"*/logs/**/run_id={run_id}/**/attempt=*.log"))
        return "\n".join(f"{log.relative_to(homes)}:\n{log.read_text()[-2500:]}" for log in logs)

    def trigger_holders(self) -> list[str]:
        """Return which triggerers hold a trigger now, by the names of their machines."""
        # Jobs are numbered as they start: the control machine's first.
        jobs = self.select(
            "metadata", "SELECT id FROM job WHERE job_type = 'TriggererJob' ORDER BY id"
        )
        names = dict(zip((id_ for (id_,) in jobs), ("triggerer", "triggerer 2"), strict=False))
        held = self.select("metadata", 'SELECT DISTINCT triggerer_id FROM "trigger"')
        return [names[id_] for (id_,) in held if id_ in names]


def wait(what: str, look: Any, seconds: float) -> Any:
    """Wait, and say so: who reads the test's output sees where it is."""
    print(f"waiting: {what}", flush=True)
    return wait_for(what, look, seconds=seconds, pause=0.5)
