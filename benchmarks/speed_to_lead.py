"""From the commit of a lead to its receiver, in a real Airflow, and what that costs."""

from __future__ import annotations

import json
import random
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

import psutil
from sqlalchemy import create_engine, make_url, text

from benchmarks.figures import Figure
from benchmarks.running import run_benchmarks
from tests.support.airflow import Airflow
from tests.support.databases import empty_database, running_postgres
from tests.support.receiver import Receiver
from tests.support.rest import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine

    from tests.support.rest import Rest

DAGS = Path(__file__).parent / "speed_dags"
WAYS = {
    "watcher_5": "QualifiedLeadTrigger, poll_interval=5",
    "watcher_1": "QualifiedLeadTrigger, poll_interval=1",
    "follow": "follow, @continuous, poll_interval=1",
    "http_operator": "HttpOperator, a run by the REST API for each lead",
}
PEER = "http_operator"
TABLE = """
CREATE TABLE leads (
    id text PRIMARY KEY, way text, email text, name text, phone text, score integer, status text,
    custom_fields json, qualified_at timestamptz
);
CREATE INDEX ON leads (way, qualified_at)
"""
INSERT = """
INSERT INTO leads VALUES (
    :id, :way, 'ana@example.com', 'Ana Souza', '+5511999999999', 80, 'qualified',
    '{"city": "Sao Paulo"}', now()
)
"""
SHORTEST_GAP, LONGEST_GAP = 1.5, 6.0
FIRST_SECONDS, LEAD_SECONDS = 180, 60


class Speed(NamedTuple):
    """
    What one way has shown.

    :param p50: seconds from a lead's commit to its receiver, in the middle
    :param p95: the same, of 95 of 100
    :param worst: the same, of all
    :param cpu: seconds of processor time of all of Airflow for each lead, beyond its idle time
    :param idle: processor time in a second without a lead
    """

    p50: float
    p95: float
    worst: float
    cpu: float
    idle: float


def main(*, quick: bool = False) -> list[Figure]:
    """Measure each way alone, one after another, in one Airflow."""
    leads, idle_seconds = (3, 5.0) if quick else (40, 30.0)
    print(
        f"{leads} leads each, {SHORTEST_GAP:g} to {LONGEST_GAP:g} s apart; LocalExecutor",
        flush=True,
    )
    with _bench() as bench:
        speeds = {way: bench.measure(way, leads, idle_seconds) for way in WAYS}
    head = f"{'seconds':<52}{'p50':>7}{'p95':>7}{'worst':>7}{'CPU a lead':>12}{'CPU idle':>10}"
    print("\n" + head)
    for way, speed in speeds.items():
        cells = "".join(f"{seconds:>7.2f}" for seconds in speed[:3])
        print(f"{WAYS[way]:<52}{cells}{speed.cpu:>12.2f}{speed.idle:>9.0%}")
    return [
        Figure(
            name="Commit to receiver with follow, p95",
            value=speeds["follow"].p95,
            unit="s",
            goal=1,
            bound=2,
            note=f"{leads} leads, one Airflow, PostgreSQL; a peer: HttpOperator in a run for each "
            f"lead, {speeds[PEER].p95:.1f} s",
        )
    ]


class _Bench:
    """
    An Airflow with the ways, and what they send to.

    :param leads: database of the leads
    :param receiver: what all integrations lead to
    """

    def __init__(self, airflow: Airflow, leads: Engine, receiver: Receiver) -> None:
        self._airflow = airflow
        self._leads = leads
        self._receiver = receiver
        self._rest: Rest = airflow.rest

    def measure(self, way: str, leads: int, idle_seconds: float) -> Speed:
        """Have leads come, one by one, while nothing but this way is active."""
        self._rest.wait_for_dag(way)
        self._pause(way, paused=False)
        self._send(way, "first", FIRST_SECONDS)
        time.sleep(5)  # the first run comes to rest
        began, cpu = time.monotonic(), self._cpu()
        time.sleep(idle_seconds)
        idle = (self._cpu() - cpu) / (time.monotonic() - began)
        chance = random.Random(way)
        took: list[float] = []
        began, cpu = time.monotonic(), self._cpu()
        for n in range(leads):
            gap_until = time.monotonic() + chance.uniform(SHORTEST_GAP, LONGEST_GAP)
            took.append(self._send(way, str(n), LEAD_SECONDS))
            time.sleep(max(0.0, gap_until - time.monotonic()))
        time.sleep(5)
        spent = self._cpu() - cpu - idle * (time.monotonic() - began)
        self._pause(way, paused=True)
        self._end_runs(way)
        cuts = quantiles(took, n=100, method="inclusive")
        speed = Speed(cuts[49], cuts[94], max(took), spent / leads, idle)
        print(f"{WAYS[way]}: p50 {speed.p50:.2f} s, p95 {speed.p95:.2f} s", flush=True)
        return speed

    def _send(self, way: str, name: str, seconds: float) -> float:
        """Commit a lead, and return how long it took to its receiver."""
        lead_id = f"{way}-{name}"
        with self._leads.begin() as connection:
            connection.execute(text(INSERT), {"id": lead_id, "way": way})
        committed = time.time()
        if way == PEER:
            body = json.dumps({"lead": {"id": lead_id, "email": "ana@example.com"}})
            self._rest.trigger(PEER, conf={"body": body})
        return wait_for(lead_id, lambda: self._arrival(lead_id), seconds=seconds) - committed

    def _arrival(self, lead_id: str) -> float | None:
        # The latest ones: those before have been waited for.
        recent = self._receiver.received[-5:]
        return next((request.at for request in recent if request.lead_id == lead_id), None)

    def _pause(self, dag: str, *, paused: bool) -> None:
        self._rest.call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": paused})

    def _end_runs(self, dag: str) -> None:
        """End what still runs, such as the task that stays."""
        runs = self._rest.call("GET", f"/api/v2/dags/{dag}/dagRuns?state=running")["dag_runs"]
        for run in runs:
            path = f"/api/v2/dags/{dag}/dagRuns/{quote(run['dag_run_id'], safe='')}"
            self._rest.call("PATCH", path, {"state": "failed"})
        time.sleep(10)

    def _cpu(self) -> float:
        """Return the processor time of all of Airflow's processes, those that ended included."""
        total = 0.0
        for process in self._airflow.processes():
            with suppress(psutil.NoSuchProcess):
                total += sum(process.cpu_times()[:4])
        return total


@contextmanager
def _bench() -> Iterator[_Bench]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zbl-bench-")))
        server = stack.enter_context(running_postgres(folder / "postgres", durable=True))
        metadata, log, leads = (stack.enter_context(empty_database(server)) for _ in range(3))
        receiver = stack.enter_context(Receiver())
        engine = create_engine(leads)
        stack.callback(engine.dispose)
        with engine.begin() as connection:
            connection.execute(text(TABLE))
        authority = str(receiver.write_authority(folder / "ca.pem"))
        ways = {f"AIRFLOW_CONN_{way.upper()}": _webhook(receiver, way, authority) for way in WAYS}
        options = {
            **ways,
            "AIRFLOW_CONN_PEER": json.dumps({"conn_type": "http", "host": receiver.url}),
            "AIRFLOW_CONN_LEADS": _database(leads),
            "AIRFLOW_CONN_LOG": _database(log),
            "AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID": "log",
            "AIRFLOW__ZBL__ALLOWED_NETWORKS": "127.0.0.0/8, ::1/128",
            "REQUESTS_CA_BUNDLE": authority,
        }
        airflow = Airflow(folder / "airflow", DAGS, database=metadata, options=options)
        yield _Bench(stack.enter_context(airflow), engine, receiver)


def _webhook(receiver: Receiver, way: str, authority: str) -> str:
    extra = {"verify": authority}
    host = f"{receiver.url}/{way}"
    return json.dumps({"conn_type": "zbl_webhook", "host": host, "extra": extra})


def _database(url: str) -> str:
    parts = make_url(url)
    return json.dumps(
        {
            "conn_type": "postgres",
            "host": parts.query["host"],
            "login": parts.username,
            "schema": parts.database,
        }
    )


if __name__ == "__main__":
    run_benchmarks({"speed_to_lead": main})
