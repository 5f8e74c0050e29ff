"""
The whole bulk path beside bare loops that only post the same bodies.

Ours reads rows from a database, maps, filters, validates, signs, sends, and writes every lead and
every attempt into a durable delivery log; the peers post ready-made bytes and forget them. Each
measurement is a process of its own, and they take turns, so that a ratio compares neighbours.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import sqlite3
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

IN_FLIGHT = 64
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"  # noqa: S105  of the specification's examples
COLUMNS = (
    "id, email, name, phone, company, score, status, custom_fields, email_valid, phone_valid, "
    "cnpj_valid, cnpj_status, ip_risk_score, ip_proxy, ip_vpn, created_at, qualified_at, "
    "list_id, list_name"
)


def rows(count: int) -> Iterator[tuple[Any, ...]]:
    """Give leads of the example's size."""
    custom = json.dumps({"job_title": "Sales Director", "city": "New York"})
    for n in range(count):
        yield (
            f"lead-{n:08}", f"john.{n}@company.com", "John Smith", "+5511999999999", "Company XYZ",
            85, "qualified", custom, 1, 1, 1, "Active", 5, 0, 0,
            "2026-02-23T14:30:00Z", "2026-02-23T14:30:02Z", "list-uuid", "Google Ads Campaign",
        )  # fmt: skip


def write_leads(path: Path, count: int) -> None:
    """Make the SQLite database that leads are read from."""
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(f"CREATE TABLE leads ({COLUMNS})")
        marks = ", ".join("?" * len(COLUMNS.split(",")))
        connection.executemany(f"INSERT INTO leads VALUES ({marks})", rows(count))


def read_rows(path: str) -> Iterator[tuple[list[str], tuple[Any, ...]]]:
    """Read the leads back as a query gives them."""
    with closing(sqlite3.connect(path)) as connection:
        cursor = connection.execute("SELECT * FROM leads")
        columns = [column[0] for column in cursor.description]
        for row in cursor:
            yield columns, row


def _bodies(path: str) -> list[bytes]:
    from zbl_provider.intake import read
    from zbl_provider.leads import payload

    return [payload.encode(payload.document(lead)) for lead in read(read_rows(path), None)]


def ours(options: argparse.Namespace) -> Callable[[], None]:
    """Prepare the provider's own path: one run of a DispatchLeadsOperator, without Airflow."""
    from cryptography.fernet import Fernet

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.guard import Guard
    from zbl_provider.delivery.schedule import Schedule
    from zbl_provider.dispatcher import Dispatcher, Policy
    from zbl_provider.intake import read
    from zbl_provider.log.model import RunKey, Status
    from zbl_provider.log.store import DeliveryLog

    log = DeliveryLog(options.log, cipher=Fernet(Fernet.generate_key()))
    log.upgrade()
    extra = {
        "verify": options.authority,
        "signing_secret": SECRET,
        "max_concurrency": IN_FLIGHT,
        "min_score": 50,
        "field_filters": ["city is not empty"],
    }
    dispatcher = Dispatcher(
        log=log,
        destination=Destination.parse(integration="bench", host=options.url, extra=extra),
        guard=Guard.parse("127.0.0.0/8, ::1/128"),
        policy=Policy(schedule=Schedule.DEFAULT),
    )

    def run() -> None:
        key = RunKey("bench", "bench", str(time.time()))
        report = dispatcher.dispatch(key, 0, read(read_rows(options.leads), None))
        assert report.counts == {Status.DELIVERED: options.count}, report.counts

    return run


def bare_aiohttp(options: argparse.Namespace) -> Callable[[], None]:
    """Prepare a loop that posts ready-made bodies with aiohttp and asyncio, and nothing else."""
    import aiohttp

    bodies = _bodies(options.leads)
    context = ssl.create_default_context(cafile=options.authority)

    async def post_all() -> None:
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=context)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def post(mine: Iterator[bytes]) -> None:
                for body in mine:
                    headers = {"Content-Type": "application/json"}
                    async with session.post(options.url, data=body, headers=headers) as answer:
                        await answer.read()

            shared = iter(bodies)
            await asyncio.gather(*(post(shared) for _ in range(IN_FLIGHT)))

    return lambda: asyncio.run(post_all())


def bare_requests(options: argparse.Namespace) -> Callable[[], None]:
    """Prepare 16 threads that post ready-made bodies with requests, a session each."""
    import requests

    bodies = iter(_bodies(options.leads))
    lock = threading.Lock()

    def post() -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = options.authority
            while True:
                with lock:
                    body = next(bodies, None)
                if body is None:
                    return
                session.post(options.url, data=body, headers={"Content-Type": "application/json"})

    def run() -> None:
        threads = [threading.Thread(target=post) for _ in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return run


WAYS = {"ours": ours, "aiohttp": bare_aiohttp, "requests": bare_requests}


def child(options: argparse.Namespace) -> None:
    """Measure one way in this process and print what it took."""
    run = WAYS[options.way](options)
    before = resource.getrusage(resource.RUSAGE_SELF)
    started = time.perf_counter()
    run()
    took = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_SELF)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    print(json.dumps({"seconds": took, "cpu": cpu, "peak_mb": _peak_mb()}))


def _peak_mb() -> float:
    """Read this program's own peak: `ru_maxrss` remembers the process that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(way: str, count: int, **options: str) -> dict[str, float]:
    """Run one measurement in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.bulk", way, str(count)]
    for name, value in options.items():
        command += [f"--{name}", value]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return dict(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    """Measure in turns and print the table."""
    from benchmarks.nginx import running_nginx
    from tests.databases import empty_database, running_postgres

    count, rounds = 10_000, 3
    with (
        running_nginx() as nginx,
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_postgres(Path(name) / "postgres", durable=True) as server,
    ):
        leads = Path(name) / "leads.db"
        write_leads(leads, count)
        base = {"url": nginx.url, "authority": nginx.authority, "leads": str(leads)}
        figures: dict[str, list[dict[str, float]]] = {}
        for turn in range(rounds):
            with empty_database(server) as log:
                figures.setdefault("ours, PostgreSQL log", []).append(
                    measure("ours", count, log=log, **base)
                )
            figures.setdefault("bare aiohttp", []).append(measure("aiohttp", count, **base))
            log = f"sqlite:///{name}/log{turn}.db"
            figures.setdefault("ours, SQLite log", []).append(
                measure("ours", count, log=log, **base)
            )
            figures.setdefault("requests, 16 threads", []).append(
                measure("requests", count, **base)
            )
    _show(figures, count, rounds)


def _show(figures: dict[str, list[dict[str, float]]], count: int, rounds: int) -> None:
    print(f"{count} leads, {IN_FLIGHT} in flight, nginx over TLS on loopback, median of {rounds}")
    heads = ("leads/s", "us CPU", "peak MB", "to aiohttp", "to requests")
    print(" " * 22 + "".join(f"{head:>13}" for head in heads))
    seconds = {
        label: statistics.median(one["seconds"] for one in runs) for label, runs in figures.items()
    }
    for label, runs in figures.items():
        took = seconds[label]
        cpu = statistics.median(one["cpu"] for one in runs) / count * 1e6
        peak = max(one["peak_mb"] for one in runs)
        ratios = [seconds[peer] / took for peer in ("bare aiohttp", "requests, 16 threads")]
        numbers = (
            f"{count / took:.0f}",
            f"{cpu:.0f}",
            f"{peak:.0f}",
            *(f"{r:.2f}" for r in ratios),
        )
        print(f"{label:<22}" + "".join(f"{number:>13}" for number in numbers))


if __name__ == "__main__":
    if len(sys.argv) == 1:
        main()
    else:
        parser = argparse.ArgumentParser()
        parser.add_argument("way", choices=WAYS)
        parser.add_argument("count", type=int)
        for option in ("url", "authority", "leads", "log"):
            parser.add_argument(f"--{option}")
        child(parser.parse_args())
