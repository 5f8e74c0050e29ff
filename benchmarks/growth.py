"""
What grows with the work: a million leads in one task, their look-back, and tasks that wait.

Each measurement of leads is a process of its own, on one PostgreSQL log; the triggers of waiting
tasks run in an event loop of this process, as a triggerer runs them, but without Airflow around it.
"""

from __future__ import annotations

import asyncio
import resource
import statistics
import tempfile
import time
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.figures import Figure
from benchmarks.leads import write_leads
from benchmarks.nginx import running_nginx
from benchmarks.running import run_benchmarks
from benchmarks.ways import measure
from tests.support.databases import empty_database, running_postgres

if TYPE_CHECKING:
    from zbl_provider.triggers.due import DueTrigger

NEW = 10
WAITING = 10_000
LOOK_SECONDS = 20

Measured = dict[str, float]


def main(*, quick: bool = False) -> list[Figure]:
    """Measure many waits, few leads, many, and their look-back."""
    few, many = (500, 5_000) if quick else (10_000, 1_000_000)
    _wait(WAITING // 10 if quick else WAITING)
    with (
        running_nginx() as nginx,
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_postgres(Path(name) / "postgres", durable=True) as server,
    ):
        folder = Path(name)
        base = {"url": nginx.url, "authority": nginx.authority}
        write_leads(folder / "few.db", few)
        write_leads(folder / "many.db", many)
        small = _few(server, folder, few, base)
        with empty_database(server) as log:
            large = measure("ours", many, leads=f"{folder}/many.db", log=log, **base)
            _tell("one task", many, large)
            _size(log, many)
            _first_page(log)
            _look_back(folder, many, log, base)
        small += _few(server, folder, few, base)
    return _figures(small, large, few, many)


def _few(server: str, folder: Path, few: int, base: dict[str, str]) -> list[Measured]:
    with empty_database(server) as log:
        measured = measure("ours", few, leads=f"{folder}/few.db", log=log, **base)
    _tell("one task", few, measured)
    return [measured]


def _tell(what: str, count: int, measured: Measured) -> None:
    us_a_lead = measured["seconds"] / count * 1e6
    cpu = measured["cpu"] / count * 1e6
    print(
        f"{what:<44}{count:>10,} leads{measured['seconds']:>8.1f} s{us_a_lead:>7.0f} us"
        f"{cpu:>7.0f} us CPU{measured['peak_mb']:>7.0f} MB",
        flush=True,
    )


def _size(log: str, count: int) -> None:
    from sqlalchemy import create_engine, text

    engine = create_engine(log)
    with engine.connect() as connection:
        size = connection.execute(text("SELECT pg_database_size(current_database())")).scalar_one()
    engine.dispose()
    print(f"the log: {size / 1e6:,.0f} MB, {size / count:,.0f} bytes a lead, before any VACUUM")


def _first_page(log: str) -> None:
    from zbl_provider.log.browse.model import Query
    from zbl_provider.log.store import DeliveryLog

    with closing(DeliveryLog(log)) as opened:
        query = Query(since=datetime.now(UTC) - timedelta(days=7))
        for what in ("first", "second"):
            started = time.perf_counter()
            opened.reader.deliveries(query, limit=50)
            print(f"the page's {what} look: {(time.perf_counter() - started) * 1000:.1f} ms")


def _look_back(folder: Path, many: int, log: str, base: dict[str, str]) -> None:
    """Find ten new leads among those that were delivered."""
    path = folder / "more.db"
    write_leads(path, many + NEW)
    read = measure("read", many + NEW, leads=str(path))
    _tell("reading the rows alone", many + NEW, read)
    look_back = measure("ten-new", many, leads=str(path), log=log, **base)
    _tell(f"a look-back, {NEW} of its leads new", many + NEW, look_back)
    print(f"to reading the rows alone: {look_back['seconds'] / read['seconds']:.1f} x")


def _wait(count: int) -> None:
    """Have triggers wait as tasks with a lead each do, for minutes yet, and for seconds."""
    for what, seconds in (("minutes from their end", 900.0), ("in their last seconds", 20.0)):
        before, memory = resource.getrusage(resource.RUSAGE_SELF), _resident_mb()
        asyncio.run(_look_on(count, seconds + LOOK_SECONDS))
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        print(
            f"{count:,} triggers {what}: {cpu / LOOK_SECONDS:.0%} of a core, "
            f"{_resident_mb() - memory:.0f} MB more at the end"
        )


async def _look_on(count: int, seconds: float) -> None:
    import logging

    from zbl_provider.triggers.due import DueTrigger

    logging.disable(logging.INFO)
    due_at = datetime.now(UTC) + timedelta(seconds=seconds)
    tasks = [asyncio.create_task(_run(DueTrigger(due_at))) for _ in range(count)]
    await asyncio.sleep(LOOK_SECONDS)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    logging.disable(logging.NOTSET)


async def _run(trigger: DueTrigger) -> None:
    async for _ in trigger.run():
        return


def _resident_mb() -> float:
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024


def _figures(small: list[Measured], large: Measured, few: int, many: int) -> list[Figure]:
    note = f"{many:,} leads beside {few:,}, PostgreSQL log"
    seconds_a_lead = statistics.mean(measured["seconds"] for measured in small) / few
    peak = max(measured["peak_mb"] for measured in small)
    return [
        Figure(
            name="Time a lead, a million to ten thousand",
            value=large["seconds"] / many / seconds_a_lead,
            unit="x",
            goal=1,
            bound=1.15,
            note=note,
        ),
        Figure(
            name="Peak memory, a million minus ten thousand",
            value=large["peak_mb"] - peak,
            unit="MB",
            goal=0,
            bound=40,
            note=note,
        ),
    ]


if __name__ == "__main__":
    run_benchmarks({"growth": main})
