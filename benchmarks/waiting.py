"""
Tasks with a lead each that wait in a real Airflow while their destination is down.

Some hundreds go the whole way, from the scheduler to the receiver. Ten thousand are put into the
state that a worker leaves them in, since Airflow would need hours to start so many on two cores;
the triggerer that holds them is a real one.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
from sqlalchemy import create_engine, make_url, text

from benchmarks.nginx import running_nginx
from benchmarks.running import run_benchmarks
from tests.support.airflow import Airflow
from tests.support.commands import ROOT
from tests.support.databases import empty_database, running_postgres
from tests.support.rest import wait_for
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.exchange import Answer
from zbl_provider.delivery.outcome import classify
from zbl_provider.dispatch.intake import candidate, read_one
from zbl_provider.log.model import RunKey, Settlement
from zbl_provider.log.store import DeliveryLog

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.figures import Figure
    from benchmarks.nginx import Nginx

DAGS = Path(__file__).parent / "waiting_dags"
FEW, MANY, CAPACITY = 100, 10_000, 20_000
AT_ONCE = 1000  # taken up by the triggerer; 50 by default
DARK_SECONDS = 60  # in which the few wait
REST_SECONDS = 45  # in which the many wait, and are looked at
_BLOCKED = re.compile(r"async thread was blocked for ([0-9.]+) seconds")

_RESUMABLE = "SELECT count(*) FROM task_instance WHERE run_id = :run_id AND state = 'scheduled'"
_STARTED = """
SELECT count(*) FROM task_instance
WHERE dag_id = :dag AND start_date IS NOT NULL
"""
_HEARTBEAT = """
SELECT extract(epoch FROM clock_timestamp() - latest_heartbeat) FROM job
WHERE job_type = 'TriggererJob' AND end_date IS NULL ORDER BY id DESC LIMIT 1
"""
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE datname = :name"


@dataclass(slots=True)
class Seen:
    """
    What the triggerer took while it was watched.

    :param memory: MB of its processes
    :param cpu: processor time in a second
    :param heartbeat: seconds that its last sign of life was old, at most
    :param blocked: seconds that its event loop stood still at a stretch, each that it warned of
    :param connections: to the delivery log's database, at most
    """

    memory: float = 0.0
    cpu: float = 0.0
    heartbeat: float = 0.0
    blocked: list[float] = field(default_factory=list)
    connections: int = 0


def main(*, quick: bool = False) -> list[Figure]:
    """Have a few tasks go the whole way, then put many into one triggerer."""
    few, many, dark = (20, 500, 90) if quick else (FEW, MANY, DARK_SECONDS)
    with _bench(few) as bench:
        bench.go_through(few, dark)
        bench.hold_due(many)
        bench.hold_outage(many)
    return []


class _Bench:
    """
    One Airflow and what its tasks send to.

    :param airflow: scheduler, triggerer, API server
    :param nginx: the receiver, which is down as long as its gate is closed
    :param metadata: URL of Airflow's database
    :param log: URL of the delivery log
    """

    def __init__(self, airflow: Airflow, nginx: Nginx, metadata: str, log: str) -> None:
        self._airflow = airflow
        self._rest = airflow.rest
        self._nginx = nginx
        self._metadata = create_engine(metadata, isolation_level="AUTOCOMMIT")
        self._log = log

    def go_through(self, count: int, dark: float) -> None:
        """Start tasks while the destination is down, bring it back, and wait for all of them."""
        self._rest.wait_for_dag("whole")
        began, cpu = time.monotonic(), self._cpu()
        run_id = self._rest.trigger("whole")
        wait_for("every task's wait", lambda: self._all_started("whole", count), seconds=1800)
        begun = time.monotonic()
        print(f"{count} tasks, a lead each, destination down: all had started after "
              f"{begun - began:.0f} s, {(self._cpu() - cpu) / count:.2f} s of processor time "
              "each")  # fmt: skip
        cpu = self._cpu()
        time.sleep(dark)
        took = (self._cpu() - cpu) / (time.monotonic() - begun)
        again = self._deferrals() - count  # beyond the first wait of each
        print(f"{dark:.0f} s later {again} tasks had been started again; meanwhile {took:.0%} of a "
              "core for all of Airflow", flush=True)  # fmt: skip
        self._nginx.gate.touch()
        back = time.monotonic()
        wait_for("every lead", lambda: len(self._arrived()) >= count, seconds=3600, pause=0.2)
        print(f"back: all leads arrived after {time.monotonic() - back:.0f} s")
        state = self._rest.wait_for_run("whole", run_id, seconds=3600)
        assert state == "success", state
        print(f"      all tasks ended after {time.monotonic() - back:.0f} s", flush=True)
        assert len(self._arrived()) == len(set(self._arrived())) == count, "each once"

    def hold_due(self, count: int) -> None:
        """Have triggers wait for a moment, look on, and let all of them be due at once."""
        due_at = datetime.now(UTC) + timedelta(seconds=REST_SECONDS + count / 100 + 90)
        run_id = self._hold("for a moment", count, "--until", due_at.isoformat())
        left = (due_at - datetime.now(UTC)).total_seconds()
        assert left > 0, "the triggers were due before they were looked at"
        time.sleep(left)
        self._fire(run_id, count)

    def hold_outage(self, count: int) -> None:
        """Have triggers wait for the destination, look on, and bring it back."""
        with closing(DeliveryLog(self._log)) as log:
            log.upgrade()
            _go_dark(log)
            run_id = self._hold("for their destination", count)
            log.lift_outage("crm")
        self._fire(run_id, count)

    def _hold(self, what: str, count: int, *options: str) -> str:
        """Have the triggerer take up a trigger for each task of a new run, and look on."""
        self._rest.wait_for_dag("deferred")
        run_id = self._rest.trigger("deferred")
        empty = self._look_on(10)
        print(f"\n{count:,} triggers that wait {what}")
        self._tell("without any", empty)
        command = [sys.executable, "-m", "benchmarks.waiting_defer", run_id, str(count), *options]
        subprocess.run(command, env=self._airflow.environment, cwd=ROOT, check=True)
        began, cpu = time.monotonic(), self._triggerer_cpu()
        wait_for("every trigger", lambda: self._taken() == count, seconds=600)
        print(f"taken up after {time.monotonic() - began:.0f} s, {self._triggerer_cpu() - cpu:.0f} "
              "s of the triggerer's processor time")  # fmt: skip
        time.sleep(10)  # it may still be at their start
        held = self._look_on(REST_SECONDS)
        self._tell("at rest", held)
        print(f"{(held.memory - empty.memory) / count * 1000:.1f} MB for each thousand", flush=True)
        return run_id

    def _fire(self, run_id: str, count: int) -> None:
        began = time.monotonic()
        with self._watched() as seen:
            wait_for("every event", lambda: self._resumable(run_id) == count,
                     seconds=1800, pause=0.5)  # fmt: skip
            took = time.monotonic() - began
        self._tell("as all end at once", seen)
        print(f"all {count:,} tasks could go on {took:.0f} s later", flush=True)

    # What it looks at

    def _resumable(self, run_id: str) -> int:
        return int(self._ask(_RESUMABLE, run_id=run_id)[0][0])

    def _all_started(self, dag: str, count: int) -> bool:
        return bool(self._ask(_STARTED, dag=dag)[0][0] == count)

    def _deferrals(self) -> int:
        """Return how often a task has been deferred yet: each trigger has a number of its own."""
        return int(self._ask("SELECT last_value FROM trigger_id_seq")[0][0])

    def _taken(self) -> int:
        return int(self._ask("SELECT count(*) FROM trigger WHERE triggerer_id IS NOT NULL")[0][0])

    def _ask(self, query: str, **values: object) -> list[Any]:
        with self._metadata.connect() as connection:
            return list(connection.execute(text(query), values).all())

    def _arrived(self) -> list[str]:
        assert self._nginx.log
        answers = (line.split() for line in self._nginx.log.read_text().splitlines())
        return [answer[1] for answer in answers if answer[0] == "200"]

    def _cpu(self) -> float:
        return sum(map(_cpu_seconds, self._airflow.processes()))

    def _triggerer(self) -> list[psutil.Process]:
        part = self._airflow.parts["triggerer"]
        return [part, *part.children(recursive=True)]

    def _triggerer_cpu(self) -> float:
        return sum(map(_cpu_seconds, self._triggerer()))

    def _look_on(self, seconds: float) -> Seen:
        with self._watched() as seen:
            time.sleep(seconds)
        return seen

    @contextmanager
    def _watched(self) -> Iterator[Seen]:
        """Watch the triggerer while the block lasts; what was seen is filled in at its end."""
        seen = Seen()
        done = threading.Event()
        warnings = self._airflow.logs / "triggerer.log"
        written = warnings.stat().st_size
        began, cpu = time.monotonic(), self._triggerer_cpu()

        def look() -> None:
            while not done.wait(0.5):
                seen.heartbeat = max(seen.heartbeat, float(self._ask(_HEARTBEAT)[0][0]))
                open_ = int(self._ask(_CONNECTIONS, name=make_url(self._log).database)[0][0])
                seen.connections = max(seen.connections, open_)

        watch = threading.Thread(target=look)
        watch.start()
        try:
            yield seen
        finally:
            done.set()
            watch.join()
            seen.cpu = (self._triggerer_cpu() - cpu) / (time.monotonic() - began)
            seen.memory = sum(_resident_mb(process) for process in self._triggerer())
            with warnings.open() as log:
                log.seek(written)
                seen.blocked = [float(blocked) for blocked in _BLOCKED.findall(log.read())]

    def _tell(self, when: str, seen: Seen) -> None:
        blocked = f"{len(seen.blocked)} times, {max(seen.blocked, default=0):.1f} s at most"
        print(f"triggerer {when}: {seen.memory:.0f} MB, {seen.cpu:.0%} of a core, heartbeat at "
              f"most {seen.heartbeat:.1f} s old, loop blocked {blocked}, "
              f"{seen.connections} connections to the log", flush=True)  # fmt: skip


def _go_dark(log: DeliveryLog) -> None:
    """Have the log know the destination as down, and one lead that was tried and goes on."""
    now = datetime.now(UTC)
    run = log.begin(RunKey("dark", "send", "dark"), "crm", 0, now)
    destination = Destination.parse(integration="crm", host="https://bench.example/")
    lead = read_one({"id": "tried", "email": "ana@example.com", "status": "qualified"})
    lease = timedelta(minutes=1)
    (tried,) = log.enrol(run, "crm", [candidate(lead, destination)], now, lease=lease).claimed
    outcome = classify(Answer(503, "", None, 0.01))
    log.settle([Settlement(tried, outcome, now, now + timedelta(hours=1))], run)
    assert log.begin_outage("crm", now, "answered 503", now)


def _cpu_seconds(process: psutil.Process) -> float:
    """Return the processor time of a process and of those of its children that have ended."""
    with suppress(psutil.NoSuchProcess):
        return float(sum(process.cpu_times()[:4]))
    return 0.0


def _resident_mb(process: psutil.Process) -> float:
    with suppress(psutil.NoSuchProcess):
        return float(process.memory_info().rss) / 2**20
    return 0.0


@contextmanager
def _bench(tasks: int) -> Iterator[_Bench]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zbl-bench-")))
        nginx = stack.enter_context(running_nginx(log=True))
        server = stack.enter_context(running_postgres(folder / "postgres", durable=True))
        metadata, log = (stack.enter_context(empty_database(server)) for _ in range(2))
        crm = {"host": nginx.closed_url, "extra": {"verify": nginx.authority}}
        url = make_url(log)
        where = {"host": url.query["host"], "login": url.username, "schema": url.database}
        options = {
            "AIRFLOW_CONN_CRM": json.dumps({"conn_type": "zbl_webhook", **crm}),
            "AIRFLOW_CONN_LOG": json.dumps({"conn_type": "postgres", **where}),
            "AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID": "log",
            "AIRFLOW__ZBL__ALLOWED_NETWORKS": "127.0.0.0/8, ::1/128",
            "AIRFLOW__TRIGGERER__CAPACITY": str(CAPACITY),
            "AIRFLOW__TRIGGERER__MAX_TRIGGER_TO_SELECT_PER_LOOP": str(AT_ONCE),
            "BENCHMARK_TASKS": str(tasks),
        }
        airflow = Airflow(folder / "airflow", DAGS, database=metadata, options=options)
        yield _Bench(stack.enter_context(airflow), nginx, metadata, log)


if __name__ == "__main__":
    run_benchmarks({"waiting": main})
