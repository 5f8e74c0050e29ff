"""Whether ten times as many leads cost each lead more, or more memory: rows are streamed."""

from __future__ import annotations

import statistics
import tempfile
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.leads import IN_FLIGHT, write_leads
from benchmarks.nginx import running_nginx
from benchmarks.running import run_benchmarks
from benchmarks.ways import measure
from tests.support.databases import empty_database, running_postgres

Runs = dict[int, list[dict[str, float]]]


def main(*, quick: bool = False) -> list[Figure]:
    """Measure few and many in turns, with an empty PostgreSQL log each."""
    few, many = (500, 5_000) if quick else (10_000, 100_000)
    runs: Runs = {few: [], many: []}
    with (
        running_nginx() as nginx,
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_postgres(Path(name) / "postgres", durable=True) as server,
    ):
        for count in runs:
            write_leads(Path(name) / f"{count}.db", count)
        for count in (few, many, few, many, few):
            base = {"url": nginx.url, "authority": nginx.authority}
            with empty_database(server) as log:
                measured = measure("ours", count, leads=f"{name}/{count}.db", log=log, **base)
            runs[count].append(measured)
    _show(runs)
    return _figures(runs, few, many)


def _show(runs: Runs) -> None:
    print(f"{IN_FLIGHT} in flight, PostgreSQL log, nginx over TLS on loopback, in turns, medians")
    print(f"{'leads':>10}{'runs':>6}{'us/lead':>10}{'us CPU':>10}{'peak MB':>10}")
    for count, measured in runs.items():
        us_a_lead, cpu = (_median(runs, count, what) / count * 1e6 for what in ("seconds", "cpu"))
        peak = _median(runs, count, "peak_mb")
        print(f"{count:>10,}{len(measured):>6}{us_a_lead:>10.0f}{cpu:>10.0f}{peak:>10.0f}")


def _median(runs: Runs, count: int, what: str) -> float:
    return statistics.median(measurement[what] for measurement in runs[count])


def _figures(runs: Runs, few: int, many: int) -> list[Figure]:
    note = f"{many:,} leads beside {few:,}, PostgreSQL log"
    slower = (_median(runs, many, "seconds") / many) / (_median(runs, few, "seconds") / few)
    larger = _median(runs, many, "peak_mb") - _median(runs, few, "peak_mb")
    return [
        Figure(
            name="Time per lead, many to few", value=slower, unit="x", goal=1, bound=1.15, note=note
        ),
        Figure(
            name="Peak memory, many minus few",
            value=larger,
            unit="MB",
            goal=0,
            bound=40,
            note=note,
        ),
    ]


if __name__ == "__main__":
    run_benchmarks({"scale": main})
