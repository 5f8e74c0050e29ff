"""What it takes to grow: processes that drain one log, their connections, and the log's bytes."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psycopg
from cryptography.fernet import Fernet
from sqlalchemy import make_url

from benchmarks.leads import write_leads
from benchmarks.nginx import running_nginx
from benchmarks.running import run_benchmarks
from benchmarks.ways import dispatching, environment
from tests.support.databases import empty_database, running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.figures import Figure
    from benchmarks.nginx import Nginx

TABLES = ("zbl_delivery", "zbl_attempt", "zbl_run", "zbl_run_delivery")
CONNECTIONS = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
    "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
)
GONE_BY = timedelta(days=400)


def main(*, quick: bool = False) -> list[Figure]:
    """Measure one, two and four processes, then look at what they have left in the log."""
    count = 2_000 if quick else 20_000
    with (
        running_nginx() as nginx,
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_postgres(Path(name) / "postgres", durable=True) as server,
    ):
        print(f"{count:,} leads in one PostgreSQL log, nginx over TLS on loopback")
        print(f"{'processes':>10}{'leads/s':>10}{'connections at most':>22}")
        for processes in (1, 2, 4):
            shards = _shards(Path(name), count, processes)
            with empty_database(server) as log:
                seconds, connections = _drain(nginx, log, shards)
                assert _one(
                    log, "SELECT count(*) FROM zbl_delivery WHERE status = 'delivered'"
                ) == (count)
                print(f"{processes:>10}{count / seconds:>10,.0f}{connections:>22}", flush=True)
                if processes == 1:
                    _show_bytes(log, count)
    return []


def _shards(folder: Path, count: int, processes: int) -> list[Path]:
    shards = [folder / f"{processes}-{process}.db" for process in range(processes)]
    for process, path in enumerate(shards):
        write_leads(path, count // processes, first=process * count // processes)
    return shards


def _drain(nginx: Nginx, log: str, shards: Sequence[Path]) -> tuple[float, int]:
    """Have a process for each shard drain one log; return the seconds and the connections."""
    key = Fernet.generate_key().decode()
    command = [sys.executable, "-m", "benchmarks.sizing", "--url", nginx.url, "--log", log]
    command += ["--authority", nginx.authority, f"--key={key}"]
    children = []
    for shard in shards:
        child = subprocess.Popen(
            [*command, "--leads", str(shard)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment(),
        )
        _say(child.stdout)  # the next one finds the tables there
        children.append(child)
    with watched_connections(log) as most:
        started = time.perf_counter()
        for child in children:
            assert child.stdin
            child.stdin.close()
        assert [child.wait() for child in children] == [0] * len(children)
        seconds = time.perf_counter() - started
    return seconds, most[0]


def _say(output: IO[str] | None) -> None:
    assert output
    assert output.readline() == "ready\n"


@contextmanager
def watched_connections(log: str) -> Iterator[list[int]]:
    """Count a log's connections while the block lasts; give the most, as the one of a list."""
    done, most = threading.Event(), [0]
    watch = threading.Thread(target=_watch, args=(log, done, most))
    watch.start()
    try:
        yield most
    finally:
        done.set()
        watch.join()


def _watch(log: str, done: threading.Event, most: list[int]) -> None:
    with closing(_connect(log)) as connection:
        while not done.wait(0.05):
            (count,) = connection.execute(CONNECTIONS).fetchone() or (0,)
            most[0] = max(most[0], count)


def _show_bytes(log: str, count: int) -> None:
    from zbl_provider.log.store import DeliveryLog

    print(f"{'':>10}bytes a delivered lead, tables and indexes after VACUUM FULL:")
    print(f"{'':>10}{'with its payload':<28}{_bytes(log) / count:>8,.0f}")
    with closing(DeliveryLog(log)) as opened:
        while opened.purge_payloads(datetime.now(UTC) + GONE_BY, timedelta()):
            pass
        print(f"{'':>10}{'its payload purged':<28}{_bytes(log) / count:>8,.0f}")
        while opened.purge_rows(datetime.now(UTC) + GONE_BY, timedelta()):
            pass
    print(f"{'':>10}{'its row purged, its id kept':<28}{_bytes(log, 'zbl_purged') / count:>8,.0f}")


def _bytes(log: str, *tables: str) -> int:
    with closing(_connect(log)) as connection:
        for table in tables or TABLES:
            connection.execute(f"VACUUM FULL {table}")
        sizes = [
            connection.execute(f"SELECT pg_total_relation_size('{table}')").fetchone()
            for table in tables or TABLES
        ]
    return sum(size for (size,) in filter(None, sizes))


def _one(log: str, query: str) -> int:
    with closing(_connect(log)) as connection:
        (value,) = connection.execute(query).fetchone() or (0,)
    return int(value)


def _connect(log: str) -> psycopg.Connection[Any]:
    url = make_url(log).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False), autocommit=True)


def _child(options: argparse.Namespace) -> None:
    """Drain, once the measurement says so."""
    dispatch = dispatching(options)
    print("ready", flush=True)
    sys.stdin.read()
    while (due_at := dispatch().due_at) is not None:
        time.sleep(min(0.02, max(0.0, (due_at - datetime.now(UTC)).total_seconds())))


if __name__ == "__main__":
    if "--log" in sys.argv:
        parser = argparse.ArgumentParser()
        for option in ("url", "authority", "leads", "log", "key"):
            parser.add_argument(f"--{option}")
        _child(parser.parse_args())
    else:
        run_benchmarks({"sizing": main})
