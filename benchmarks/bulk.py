"""
The whole bulk path beside bare loops that only post the same bodies.

Ours reads rows from a database, maps, filters, validates, signs, sends, and writes every lead and
every attempt into a durable delivery log; the peers post ready-made bytes and forget them. Each
measurement is a process of its own, and they take turns, so that a ratio compares neighbours.
"""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.leads import IN_FLIGHT, write_leads
from benchmarks.nginx import running_nginx
from benchmarks.running import run_benchmarks
from benchmarks.ways import THREADS, measure
from tests.support.databases import empty_database, running_postgres

POSTGRES, SQLITE = "ours, PostgreSQL log", "ours, SQLite log"
AIOHTTP = "bare aiohttp"
SHARED, SESSIONS = "requests, one session", "requests, a session each"
PEERS = {AIOHTTP: "aiohttp", SHARED: "requests-shared", SESSIONS: "requests-sessions"}

Runs = dict[str, list[dict[str, float]]]


def main(*, quick: bool = False) -> list[Figure]:
    """Measure in turns."""
    count, rounds = (500, 1) if quick else (10_000, 5)
    runs: Runs = {label: [] for label in (POSTGRES, AIOHTTP, SQLITE, SHARED, SESSIONS)}
    with (
        running_nginx() as nginx,
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_postgres(Path(name) / "postgres", durable=True) as server,
    ):
        leads = Path(name) / "leads.db"
        write_leads(leads, count)
        base = {"url": nginx.url, "authority": nginx.authority, "leads": str(leads)}
        for turn in range(rounds):
            with empty_database(server) as log:
                runs[POSTGRES].append(measure("ours", count, log=log, **base))
            runs[AIOHTTP].append(measure("aiohttp", count, **base))
            log = f"sqlite:///{name}/log{turn}.db"
            runs[SQLITE].append(measure("ours", count, log=log, **base))
            for peer in (SHARED, SESSIONS):
                runs[peer].append(measure(PEERS[peer], count, **base))
    _show(runs, count)
    return _figures(runs, count)


def _show(runs: Runs, count: int) -> None:
    rounds = len(runs[POSTGRES])
    print(f"{count} leads, {IN_FLIGHT} in flight, nginx over TLS on loopback, median of {rounds}")
    print(" " * 26 + "".join(f"{head:>10}" for head in ("leads/s", "us CPU", "peak MB")))
    for label, measured in runs.items():
        cpu = statistics.median(measurement["cpu"] for measurement in measured) / count * 1e6
        peak = max(measurement["peak_mb"] for measurement in measured)
        print(f"{label:<26}{count / _seconds(runs, label):>10.0f}{cpu:>10.0f}{peak:>10.0f}")


def _seconds(runs: Runs, label: str) -> float:
    return statistics.median(measurement["seconds"] for measurement in runs[label])


def _figures(runs: Runs, count: int) -> list[Figure]:
    bare = f"{count:,} leads, {IN_FLIGHT} in flight; the peer posts ready-made bodies, keeps no log"
    threads = f"{count:,} leads, PostgreSQL log; the peer: {THREADS} threads without any log"
    shared = f"{threads}, one Session with its default settings (ten connections)"
    detail = f"{threads}, each with a Session that ignores the environment"
    return [
        _figure(runs, POSTGRES, AIOHTTP, "Speed to bare aiohttp, PostgreSQL log", 1.0, 0.7, bare),
        _figure(runs, SQLITE, AIOHTTP, "Speed to bare aiohttp, SQLite log", 1.0, 0.7, bare),
        _figure(runs, POSTGRES, SHARED, "Speed to requests, one session", 10, 6, shared),
        _figure(runs, POSTGRES, SESSIONS, "Speed to requests, a session each", 10, 6, detail),
    ]


def _figure(
    runs: Runs, label: str, peer: str, name: str, goal: float, bound: float, note: str
) -> Figure:
    # Of neighbours: what else the machine does changes from round to round.
    ratios = [
        theirs["seconds"] / mine["seconds"]
        for mine, theirs in zip(runs[label], runs[peer], strict=True)
    ]
    print(f"{name + ', by round':<50}" + "".join(f"{ratio:>6.2f}" for ratio in ratios))
    return Figure(
        name=name,
        value=statistics.median(ratios),
        unit="x",
        goal=goal,
        bound=bound,
        more_is_better=True,
        note=note,
    )


if __name__ == "__main__":
    run_benchmarks({"bulk": main})
