"""
A run that finds nothing new beside reading its rows alone.

A schedule with a look-back does nearly nothing else: each run finds again what earlier ones have
delivered. Both read the same rows from the same SQLite file, each in a process of its own, in
turns; a run counts from its first look into the log to its report. Airflow's own start is in
neither.
"""

from __future__ import annotations

import statistics
import tempfile
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.leads import read_rows, write_leads
from benchmarks.running import run_benchmarks
from benchmarks.ways import measure
from tests.support.databases import empty_database, running_postgres

READ, WATCH = "reading the rows alone", "look of a watcher"
LOGS = ("SQLite", "PostgreSQL")
BATCH = 500

Runs = dict[str, list[dict[str, float]]]


def main(*, quick: bool = False) -> list[Figure]:
    """Measure in turns, on a log of each kind that knows all leads as delivered."""
    count, rounds = (2_000, 1) if quick else (100_000, 5)
    runs: Runs = {label: [] for label in (READ, *map(_run, LOGS), *map(_look, LOGS))}
    with (
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_postgres(Path(name) / "postgres", durable=True) as server,
        empty_database(server) as postgres,
    ):
        leads = f"{name}/leads.db"
        write_leads(Path(leads), count)
        logs = dict(zip(LOGS, (f"sqlite:///{name}/log.db", postgres), strict=True))
        for log in logs.values():
            _deliver_all(log, leads)
        for _ in range(rounds):
            runs[READ].append(measure("read", count, leads=leads))
            for kind, log in logs.items():
                runs[_run(kind)].append(measure("nothing-new", count, leads=leads, log=log))
                runs[_look(kind)].append(measure("look", count, leads=leads, log=log))
    _show(runs, count)
    return _figures(runs, count)


def _run(kind: str) -> str:
    return f"run, {kind} log"


def _look(kind: str) -> str:
    return f"{WATCH}, {kind} log"


def _deliver_all(url: str, leads: str) -> None:
    """Write all leads down as delivered, as if they had been sent."""
    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.exchange import Answer
    from zbl_provider.delivery.outcome import classify
    from zbl_provider.dispatch.intake import candidate, read
    from zbl_provider.log.model import RunKey, Settlement
    from zbl_provider.log.store import DeliveryLog

    log = DeliveryLog(url)
    log.upgrade()
    now = datetime.now(UTC)
    run = log.begin(RunKey("bench", "bench", "before"), "bench", 0, now)
    destination = Destination.parse(integration="bench", host="https://bench.example/")
    outcome = classify(Answer(200, '{"ok": true}', None, 0.01))
    rows = read(read_rows(leads), None)
    while batch := [candidate(lead, destination) for lead in islice(rows, BATCH)]:
        enrolment = log.enrol(run, "bench", batch, now, lease=timedelta(minutes=1))
        log.settle([Settlement(lead, outcome, now, None) for lead in enrolment.claimed], run)
    log.close()


def _show(runs: Runs, count: int) -> None:
    print(f"{count:,} leads, all delivered before, median of {len(runs[READ])}")
    print(" " * 40 + "".join(f"{head:>12}" for head in ("us a lead", "us CPU", "peak MB")))
    for label, measured in runs.items():
        took, cpu = (
            statistics.median(measurement[what] for measurement in measured) / count * 1e6
            for what in ("seconds", "cpu")
        )
        peak = max(measurement["peak_mb"] for measurement in measured)
        print(f"{label:<40}{took:>12.1f}{cpu:>12.1f}{peak:>12.0f}")


def _figures(runs: Runs, count: int) -> list[Figure]:
    note = f"{count:,} leads, all delivered before; a run without Airflow's own start"
    figures = []
    for label in (*map(_run, LOGS), *map(_look, LOGS)):
        # Of neighbours: what else the machine does changes from round to round.
        ratios = [
            mine["seconds"] / alone["seconds"]
            for mine, alone in zip(runs[label], runs[READ], strict=True)
        ]
        print(f"{label + ', by round':<50}" + "".join(f"{ratio:>6.2f}" for ratio in ratios))
        figures.append(
            Figure(
                name=f"Nothing new, {label}, to reading the rows alone",
                value=statistics.median(ratios),
                unit="x",
                goal=3,
                bound=8,
                note=note,
            )
        )
    return figures


if __name__ == "__main__":
    run_benchmarks({"nothing_new": main})
