"""What the operators' module adds to a Dag file: its import beside that of `airflow.sdk`."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import TYPE_CHECKING

from benchmarks.running import run_benchmarks

if TYPE_CHECKING:
    from benchmarks.figures import Figure

PROGRAM = """
import time
started = time.perf_counter()
import airflow.sdk
between = time.perf_counter()
import {module}
ended = time.perf_counter()
print(between - started, ended - between)
"""
MODULES = (
    "zbl_provider.operators.dispatch",
    # A peer: Airflow's own HTTP operator, which a Dag file would use instead.
    "airflow.providers.http.operators.http",
)


def measure(module: str, runs: int) -> tuple[float, float]:
    """
    Import a module after `airflow.sdk`, in fresh processes.

    :param module: its name
    :param runs: how many processes
    :return: median milliseconds of `airflow.sdk`, and of the module after it
    """
    times = [_run(module) for _ in range(runs)]
    return (
        statistics.median(first for first, _ in times) * 1000,
        statistics.median(second for _, second in times) * 1000,
    )


def _run(module: str) -> tuple[float, float]:
    program = PROGRAM.format(module=module)
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    first, second = output.split()
    return float(first), float(second)


def main(*, quick: bool = False) -> list[Figure]:
    """Print the table."""
    runs = 1 if quick else 7
    print(f"Import cost, median of {runs} fresh processes")
    print(f"{'module':<40} {'airflow.sdk':>12} {'adds':>10}")
    for module in MODULES:
        base, added = measure(module, runs)
        print(f"{module:<40} {base:>9.0f} ms {added:>7.1f} ms")
    return []


if __name__ == "__main__":
    run_benchmarks({"import_cost": main})
