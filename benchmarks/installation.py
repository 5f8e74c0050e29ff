"""One real Airflow with all that the benchmarks in it need: receiver, databases, connections."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, make_url, text

from benchmarks.leads import IN_FLIGHT, bodies, extra, write_leads
from benchmarks.nginx import running_nginx
from tests.support.airflow import Airflow
from tests.support.databases import empty_database, running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from benchmarks.nginx import Nginx
    from tests.support.rest import Json, Rest

DAGS = Path(__file__).parent / "dags"


@dataclass(frozen=True, slots=True)
class Installation:
    """
    A running Airflow.

    :param rest: its REST API
    :param nginx: the receiver
    :param metadata: URL of Airflow's own database
    :param log: URL of the delivery log
    """

    rest: Rest
    nginx: Nginx
    metadata: str
    log: str

    def connect(self, integration: str, url: str) -> None:
        """Make an integration."""
        settings = extra(verify=self.nginx.authority, max_concurrency=IN_FLIGHT)
        self.rest.create_connection(integration, "zbl_webhook", host=url, extra=settings)

    def run(self, dag_id: str, conf: Mapping[str, object]) -> Json:
        """Trigger a run, wait for its end, and return it."""
        run_id = self.rest.trigger(dag_id, conf=conf)
        state = self.rest.wait_for_run(dag_id, run_id, seconds=1800)
        assert state == "success", f"{dag_id} {run_id}: {state}"
        return self.rest.run(dag_id, run_id)

    def select(self, url: str, query: str, **values: object) -> Any:  # noqa: ANN401  what it holds
        """Return the one value of a query to one of the databases."""
        engine = create_engine(url)
        with engine.connect() as connection:
            value = connection.execute(text(query), values).scalar_one()
        engine.dispose()
        return value


@contextmanager
def running_installation(leads: int, mapped: int, wait: float) -> Iterator[Installation]:
    """
    Run Airflow, its metadata and the delivery log on PostgreSQL, for as long as the block lasts.

    :param leads: how many leads there are
    :param mapped: how many of them the mapped peer posts
    :param wait: seconds until the second attempt
    """
    with (
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_nginx() as nginx,
        running_postgres(Path(name) / "postgres", durable=True) as server,
        empty_database(server) as metadata,
        empty_database(server) as log,
    ):
        folder = Path(name)
        write_leads(folder / "leads.db", leads)
        ready = [body.decode() for body in bodies(str(folder / "leads.db"))[:mapped]]
        (folder / "bodies.json").write_text(json.dumps(ready))
        home, options = folder / "airflow", _options(folder, wait)
        with Airflow(home, DAGS, database=metadata, options=options) as airflow:
            installation = Installation(airflow.rest, nginx, metadata, log)
            _connect(installation, folder)
            yield installation


def _options(folder: Path, wait: float) -> dict[str, str]:
    return {
        "AIRFLOW__ZBL__ALLOWED_NETWORKS": "127.0.0.0/8, ::1/128",
        "AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID": "log",
        # One of the cases has all first attempts fail, and measures the wait of very many leads.
        "AIRFLOW__ZBL__OUTAGE_BREAKER": "False",
        "BENCHMARK_BODIES": str(folder / "bodies.json"),
        "BENCHMARK_WAIT": str(wait),
        # The peer would trust the authorities of this machine's settings, not the connection's.
        "REQUESTS_CA_BUNDLE": "",
        "CURL_CA_BUNDLE": "",
    }


def _connect(installation: Installation, folder: Path) -> None:
    rest, nginx = installation.rest, installation.nginx
    rest.create_connection("leads", "sqlite", host=str(folder / "leads.db"))
    url = make_url(installation.log)
    fields = {"host": url.query["host"], "login": url.username, "schema": url.database}
    rest.create_connection("log", "postgres", **fields)
    # The same origin, and the same file with its CA.
    rest.create_connection("peer", "http", host=nginx.origin, extra={"verify": nginx.authority})
    for dag in ("bench_bulk", "bench_waiting", "bench_mapped"):
        try:
            rest.wait_for_dag(dag)
        except TimeoutError:
            raise RuntimeError("\n".join(rest.import_errors())) from None
