"""
A hundred integrations on one log beside a single one: their runs, and what people and tasks ask.

Each run is a process of its own, forked from this one as a worker's supervisor forks its tasks, so
that neither Python's start nor Airflow's is in the figures.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import statistics
import tempfile
import time
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from cryptography.fernet import Fernet
from sqlalchemy import create_engine, text

from benchmarks.figures import Figure
from benchmarks.leads import NAMES, extra, rows, write_leads
from benchmarks.nginx import running_nginx
from benchmarks.running import run_benchmarks
from benchmarks.sizing import watched_connections
from benchmarks.ways import dispatching
from tests.support.databases import empty_database, running_postgres

# Here, before the first fork: else each run would import them again.
from zbl_provider.delivery.destination import Destination
from zbl_provider.dispatch import dispatcher, drain  # noqa: F401
from zbl_provider.dispatch.intake import candidate, read
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import RunKey, Status
from zbl_provider.log.store import DeliveryLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from benchmarks.nginx import Nginx
    from zbl_provider.log.model import Run

INTEGRATIONS, LEADS = 100, 200
SLOTS = 8  # of the worker that has so many runs at once
IN_FLIGHT = 16  # an integration's default
ROUNDS = 25
LEASE = timedelta(minutes=1)


class Job(NamedTuple):
    """One dispatch run."""

    integration: str
    url: str
    authority: str
    leads: str
    log: str
    key: str


class Took(NamedTuple):
    """
    What some runs took.

    :param seconds: by the clock, from the first one's start to the last one's end
    :param cpu: processor time of all of them
    :param run: a run's own time by the clock, the median
    :param connections: to the log's database, at most
    """

    seconds: float
    cpu: float
    run: float
    connections: int


def main(*, quick: bool = False) -> list[Figure]:
    """Measure one run of all leads, and a hundred runs one by one and side by side."""
    integrations = 10 if quick else INTEGRATIONS
    count = integrations * LEADS
    print(f"{count:,} leads, PostgreSQL log, nginx over TLS on loopback")
    print(f"{'':<44}{'leads/s':>9}{'us CPU a lead':>15}{'ms a run':>10}{'connections':>13}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="zbl-bench-")))
        server = stack.enter_context(running_postgres(folder / "postgres", durable=True))
        one, in_turn, many = (stack.enter_context(empty_database(server)) for _ in range(3))
        write_leads(folder / "one.db", count)
        write_leads(folder / "many.db", LEADS)
        names = [f"crm_{number:02}" for number in range(integrations)]
        alone = _send("one task, one integration", 1, names[:1], one, folder / "one.db", count)
        _send(f"{integrations} tasks, one at a time", 1, names, in_turn, folder / "many.db", count)
        label = f"{integrations} tasks, {SLOTS} at once"
        shared = _send(label, SLOTS, names, many, folder / "many.db", count)
        worst = _compare_looks(one, many, names, folder / "many.db", 3 if quick else ROUNDS)
    return _figures(alone, shared, worst, integrations)


def _send(
    label: str, at_once: int, names: Sequence[str], log: str, leads: Path, count: int
) -> Took:
    """Have each integration's run send its leads, and see that each arrived once."""
    key = Fernet.generate_key().decode()
    with closing(DeliveryLog(log)) as opened:
        opened.upgrade()
    with running_nginx(log=True) as nginx:
        jobs = [_job(nginx, name, log, leads, key) for name in names]
        took = _run_all(jobs, at_once, log)
        _check(nginx, log, count)
    print(
        f"{label:<44}{count / took.seconds:>9,.0f}{took.cpu / count * 1e6:>15.0f}"
        f"{took.run * 1000:>10.0f}{took.connections:>13}",
        flush=True,
    )
    return took


def _job(nginx: Nginx, name: str, log: str, leads: Path, key: str) -> Job:
    return Job(name, f"{nginx.url}/{name}", nginx.authority, str(leads), log, key)


def _run_all(jobs: Sequence[Job], at_once: int, log: str) -> Took:
    fork = multiprocessing.get_context("fork")
    with watched_connections(log) as most, fork.Pool(at_once, maxtasksperchild=1) as slots:
        started = time.perf_counter()
        runs = slots.map(_dispatch, jobs, chunksize=1)
        seconds = time.perf_counter() - started
    walls, cpus = zip(*runs, strict=True)
    return Took(seconds, sum(cpus), statistics.median(walls), most[0])


def _dispatch(job: Job) -> tuple[float, float]:
    """Send all leads; return the seconds by the clock, and those of the processor."""
    started = time.perf_counter()
    dispatch = dispatching(argparse.Namespace(**job._asdict()), job.integration, IN_FLIGHT)
    while (due_at := dispatch().due_at) is not None:
        time.sleep(min(0.02, max(0.0, (due_at - datetime.now(UTC)).total_seconds())))
    used = resource.getrusage(resource.RUSAGE_SELF)
    return time.perf_counter() - started, used.ru_utime + used.ru_stime


def _check(nginx: Nginx, log: str, count: int) -> None:
    assert nginx.log
    answers = nginx.log.read_text().split("\n")[:-1]
    assert len(answers) == len(set(answers)) == count, "each lead once, and no other"
    engine = create_engine(log)
    with engine.connect() as connection:
        query = text("SELECT status, count(*) FROM zbl_delivery GROUP BY status")
        assert dict(connection.execute(query).all()) == {Status.DELIVERED: count}
    engine.dispose()


# What is asked of a log, with one integration in it and with a hundred


def _compare_looks(
    one: str, many: str, names: Sequence[str], leads: Path, rounds: int
) -> tuple[float, str]:
    """Print what each look costs in either log, and return the greatest ratio."""
    due = len(names) * LEADS
    logs = [_Asked(one, names[:1], leads, due), _Asked(many, names, leads, due)]
    print(f"\n{'milliseconds, median of ' + str(rounds):<44}{'one':>9}{len(names):>10}{'ratio':>9}")
    ratios = []
    for (what, ask_one), (_, ask_many) in zip(*(log.looks() for log in logs), strict=True):
        seen: dict[Callable[[], object], list[float]] = {ask_one: [], ask_many: []}
        for turn in range(rounds):
            for ask in (ask_one, ask_many) if turn % 2 else (ask_many, ask_one):
                started = time.perf_counter()
                ask()
                seen[ask].append((time.perf_counter() - started) * 1000)
        few, more = (statistics.median(seen[ask]) for ask in (ask_one, ask_many))
        ratios.append((more / few, what))
        print(f"{what:<44}{few:>9.1f}{more:>10.1f}{more / few:>9.2f}", flush=True)
    for log in logs:
        log.close()
    return max(ratios)


class _Asked:
    """A log whose leads are all delivered, and then has as many more that are due."""

    def __init__(self, url: str, names: Sequence[str], leads: Path, due: int) -> None:
        self._log = DeliveryLog(url)
        self._url = url
        self._names = names
        self._name = names[0]
        self._due = due // len(names)
        self._week_ago = datetime.now(UTC) - timedelta(days=7)
        options = argparse.Namespace(
            url="https://localhost/", authority=None, leads=str(leads), log=url, key=""
        )
        self._find_nothing = dispatching(options, self._name, IN_FLIGHT)
        assert (self._find_nothing().skipped, self._find_nothing().counts) == (LEADS, {})

    def looks(self) -> Iterator[tuple[str, Callable[[], object]]]:
        """Yield what is asked, by name."""
        yield f"a run that finds {LEADS} leads, none new", self._find_nothing
        self._run, *_ = [_enrol(self._log, name, self._due) for name in self._names]
        engine = create_engine(self._url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.execute(text("VACUUM ANALYZE"))
        engine.dispose()
        yield f"claim {LEADS} due leads, and give them back", self._claim
        yield "what a task knows of its integration", lambda: self._log.integration(self._name)
        yield "whether leads are overdue, for a watcher", self._overdue
        yield "the page's first 50 leads, 7 days", self._page
        yield "its funnel", lambda: self._log.reader.funnel(Query(since=self._week_ago))
        yield "its list of integrations", self._list
        yield "the same, of what some Dags have sent", self._list_of_some

    def _claim(self) -> None:
        now = datetime.now(UTC)
        claimed = self._log.claim(self._name, LEADS, now, LEASE, run=self._run)
        assert len(claimed) == LEADS
        self._log.release(claimed, now)

    def _overdue(self) -> None:
        now = datetime.now(UTC)
        assert self._log.overdue(self._name, now, now) >= LEADS

    def _page(self) -> None:
        self._log.reader.deliveries(Query(since=self._week_ago), limit=50)

    def _list(self) -> None:
        self._log.integrations()
        self._log.reader.dags_by_integration()
        self._log.reader.integrations(self._week_ago)

    def _list_of_some(self) -> None:
        self._log.integrations()
        dags = self._log.reader.dags_by_integration()
        self._log.reader.counts_by_integration(self._week_ago, frozenset().union(*dags.values()))

    def close(self) -> None:
        """Close the log."""
        self._log.close()


def _enrol(log: DeliveryLog, name: str, count: int) -> Run:
    """Write down leads that nobody has sent yet."""
    now = datetime.now(UTC)
    run = log.begin(RunKey(name, "bench", "due"), name, 0, now)
    destination = Destination.parse(integration=name, host="https://localhost/", extra=extra())
    leads = read(((NAMES, row) for row in rows(count, first=10_000_000)), None)
    candidates = [candidate(lead, destination) for lead in leads]
    assert log.enrol(run, name, candidates, now).new == count
    return run


def _figures(
    alone: Took, shared: Took, worst: tuple[float, str], integrations: int
) -> list[Figure]:
    note = f"{integrations} tasks with {LEADS} leads each, {SLOTS} at once, on one PostgreSQL log"
    ratio, what = worst
    return [
        Figure(
            name=f"Time of {integrations} integrations to one with all leads",
            value=shared.seconds / alone.seconds,
            unit="x",
            goal=1.5,
            bound=3,
            note=f"{note}; without Airflow's own start",
        ),
        Figure(
            name=f"Slowest look at {integrations} integrations to one",
            value=ratio,
            unit="x",
            goal=1.5,
            bound=3,
            note=f"{what}; the same number of leads",
        ),
    ]


if __name__ == "__main__":
    run_benchmarks({"integrations": main})
