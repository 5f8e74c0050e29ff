"""
Read a query's rows in a process of its own, and say what that took.

The connection ``leads`` comes from the environment; a type that Airflow has no hook for here is
connected to by its driver.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_MEBIBYTE = 2**20


@dataclass(frozen=True, slots=True)
class Reading:
    """
    What it took.

    :param rows: how many there were
    :param seconds: from the first to the last
    :param peak: the process's most memory, in MiB
    """

    rows: int
    seconds: float
    peak: float


def measure(connection: Mapping[str, Any], sql: str) -> Reading:
    """
    Read a query's rows to their end, in a new process.

    :param connection: Airflow's connection as JSON has it; types ``duckdb`` and ``pymysql`` too
    :param sql: the query
    """
    environment = os.environ | {"AIRFLOW_CONN_LEADS": json.dumps(connection)}
    command = [sys.executable, "-m", "benchmarks.reading", connection["conn_type"], sql]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    return Reading(**json.loads(done.stdout.splitlines()[-1]))


def _read(kind: str, sql: str) -> Reading:
    from zbl_provider.dispatch.intake import read
    from zbl_provider.hooks import rows

    if kind in _DRIVERS:
        rows.database = lambda _conn_id: _Hook(kind)  # type: ignore[assignment, return-value]  # see _Hook
    started = time.perf_counter()
    count = sum(1 for _ in read(rows.Rows("leads", sql), None))
    return Reading(count, time.perf_counter() - started, _peak())


class _Hook:
    """As much of Airflow's hook as `Rows` uses."""

    def __init__(self, kind: str) -> None:
        self._kind = kind

    def get_conn(self) -> Any:
        return _DRIVERS[self._kind](json.loads(os.environ["AIRFLOW_CONN_LEADS"]))


def _duckdb(_connection: Mapping[str, Any]) -> Any:
    import duckdb

    return duckdb.connect()


def _pymysql(connection: Mapping[str, Any]) -> Any:
    import pymysql

    return pymysql.connect(
        host=connection["host"],
        port=connection["port"],
        user=connection["login"],
        password=connection["password"],
        database=connection["schema"],
    )


_DRIVERS = {"duckdb": _duckdb, "pymysql": _pymysql}


def _peak() -> float:
    """Return the most memory of this process; `getrusage` would count its parent's, too."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024 / _MEBIBYTE


if __name__ == "__main__":
    seen = _read(*sys.argv[1:])
    print(json.dumps({"rows": seen.rows, "seconds": seen.seconds, "peak": seen.peak}))
