"""One trial of one peer: undisturbed, or with its worker killed in the middle; the same for all."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import psutil
import psycopg
from sqlalchemy import make_url

from benchmarks.nginx import running_nginx
from benchmarks.peers.child import WARM
from benchmarks.peers.place import Place
from benchmarks.ways import environment
from tests.support.airflow import free_ports
from tests.support.databases import empty_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.nginx import Nginx
    from benchmarks.peers.peer import Peer

PATIENCE = 150  # seconds without a new lead after which the rest counts as lost


@dataclass(frozen=True, slots=True)
class Speed:
    """
    What it took to send all leads.

    :param seconds: from the first lead's way into the queue to the last one's outcome on disk
    :param cpu: processor seconds of producer and worker, without their start
    :param peak_mb: the most memory that the worker's processes held
    """

    seconds: float
    cpu: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Death:
    """
    What became of the leads when the worker was killed in the middle.

    :param lost: never received until nothing had come for PATIENCE seconds
    :param doubled: received more than once
    :param seconds: from the new worker's start to the last lead's first arrival
    """

    lost: int
    doubled: int
    seconds: float


def measure(peer: Peer, server: str, leads: Path, count: int) -> Speed:
    """
    Send leads with one peer, undisturbed.

    :param peer: which one
    :param server: URL of a PostgreSQL server
    :param leads: database of the leads
    :param count: how many they are
    """
    with _trial(peer, server, leads) as trial:
        worker = trial.start_worker()
        producer = trial.start_producer()
        before = _cpu(worker)
        started = time.perf_counter()
        _go(worker if peer.reads else producer)
        trial.wait(count, worker)
        seconds = time.perf_counter() - started
        produced = float(producer.stdout.readline()) if producer and producer.stdout else 0.0
        return Speed(seconds, _cpu(worker) - before + produced, _peak_mb(worker))


def kill(peer: Peer, server: str, leads: Path, count: int) -> Death:
    """Kill one peer's worker when half of the leads have arrived, and start another one."""
    with _trial(peer, server, leads) as trial:
        worker = trial.start_worker()
        producer = trial.start_producer()
        if producer:
            _go(producer)
            assert producer.wait() == 0
        else:
            _go(worker)
        while trial.received.count() < count // 2:
            time.sleep(0.002)
        _end(worker)
        time.sleep(0.5)
        started = time.perf_counter()
        worker = trial.start_worker(again=True)
        if peer.reads:
            _go(worker)
        last, seen = started, -1
        while trial.received.distinct < count and time.perf_counter() - last < PATIENCE:
            trial.received.count()
            if trial.received.distinct != seen:
                last, seen = time.perf_counter(), trial.received.distinct
            time.sleep(0.05)
        # Those that come a second time may come later than the last new one.
        time.sleep(2)
        times = trial.received.count()
        distinct = trial.received.distinct
        return Death(count - distinct, times - distinct, last - started)


class _Received:
    """What the receiver has answered with 200, by its log, without the lead that warms up."""

    def __init__(self, path: Path) -> None:
        self._file: IO[str] = path.open()
        self._ids: set[str] = set()
        self._times = 0
        self._rest = ""

    @property
    def distinct(self) -> int:
        return len(self._ids)

    def count(self) -> int:
        """Read on, and return how many requests there were."""
        *lines, self._rest = (self._rest + self._file.read()).split("\n")
        ids = [line[4:] for line in lines if line.startswith("200 ") and line[4:] != WARM]
        self._times += len(ids)
        self._ids.update(ids)
        return self._times


class _Trial:
    def __init__(self, peer: Peer, place: Place, nginx: Nginx) -> None:
        assert nginx.log
        self._peer, self._place = peer, place
        self.received = _Received(nginx.log)
        self._processes: list[subprocess.Popen[str]] = []
        self._log = nginx.log
        assert self._run("install").wait() == 0

    def start_worker(self, *, again: bool = False) -> subprocess.Popen[str]:
        """Start one, and return when it is at work."""
        worker = self._run("work")
        if self._peer.reads:
            _ready(worker)
        elif not again:
            assert self._run("warm").wait() == 0
            while WARM not in self._log.read_text():
                assert worker.poll() is None
                time.sleep(0.05)
        return worker

    def start_producer(self) -> subprocess.Popen[str] | None:
        """Start what puts the leads into the queue; it waits for its word to begin."""
        if self._peer.reads:
            return None
        producer = self._run("produce")
        _ready(producer)
        return producer

    def wait(self, count: int, worker: subprocess.Popen[str]) -> None:
        """Wait until all outcomes are on disk."""
        warm = 0 if self._peer.reads else 1
        while self.received.count() < count:
            assert worker.poll() is None or self._peer.reads, "the worker has ended"
            time.sleep(0.005)
        with self._counter() as settled:
            while settled() < count + warm:
                time.sleep(0.005)

    @contextmanager
    def _counter(self) -> Iterator[Any]:
        if query := self._peer.settled:
            with psycopg.connect(self._place.postgres, autocommit=True) as connection:
                yield lambda: connection.execute(query).fetchone()[0]  # type: ignore[index]  # a count has a row
        else:
            import redis

            with redis.Redis.from_url(f"{self._place.redis}/1") as client:
                yield client.dbsize

    def _run(self, step: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "benchmarks.peers.child", self._peer.module, step]
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment() | self._place.environment(),
        )
        self._processes.append(process)
        return process

    def close(self) -> None:
        for process in self._processes:
            _end(process)


@contextmanager
def _trial(peer: Peer, server: str, leads: Path) -> Iterator[_Trial]:
    with (
        running_nginx(log=True) as nginx,
        empty_database(server) as database,
        _running_redis() as redis,
    ):
        postgres = make_url(database).set(drivername="postgresql")
        place = Place(
            url=nginx.url,
            authority=nginx.authority,
            leads=str(leads),
            postgres=postgres.render_as_string(hide_password=False),
            redis=redis,
        )
        trial = _Trial(peer, place, nginx)
        try:
            yield trial
        finally:
            trial.close()


@contextmanager
def _running_redis() -> Iterator[str]:
    """Run Redis with its append-only file, written to disk each second, as it is by default."""
    with free_ports(1) as (port,):
        pass
    with tempfile.TemporaryDirectory(prefix="zbl-redis-") as folder:
        command = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
        command += ["--appendonly", "yes", "--dir", folder, "--loglevel", "warning"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            yield f"redis://127.0.0.1:{port}"
        finally:
            process.terminate()
            process.wait()


def _ready(process: subprocess.Popen[str]) -> None:
    assert process.stdout
    while (line := process.stdout.readline()) != "ready\n":
        assert line, "it ended before it was ready"


def _go(process: subprocess.Popen[str] | None) -> None:
    assert process
    assert process.stdin
    process.stdin.write("\n")
    process.stdin.flush()


def _tree(process: subprocess.Popen[str]) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        parent = psutil.Process(process.pid)
        return [parent, *parent.children(recursive=True)]
    return []


def _cpu(process: subprocess.Popen[str]) -> float:
    total = 0.0
    for part in _tree(process):
        with suppress(psutil.NoSuchProcess):
            times = part.cpu_times()
            total += times.user + times.system
    return total


def _peak_mb(process: subprocess.Popen[str]) -> float:
    total = 0.0
    for part in _tree(process):
        with suppress(OSError):
            status = Path(f"/proc/{part.pid}/status").read_text()
            total += int(status.partition("VmHWM:")[2].split()[0]) / 1024
    return total


def _end(process: subprocess.Popen[str]) -> None:
    """Kill a process and all that it has started, as a power cut does."""
    for part in _tree(process):
        with suppress(psutil.NoSuchProcess):
            part.kill()
    process.wait()
