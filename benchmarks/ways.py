"""The ways to send leads that are compared; each measurement is a process of its own."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import resource
import ssl
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.leads import IN_FLIGHT, bodies, extra, read_rows

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from requests import Session

    from zbl_provider.dispatch.report import Report

THREADS = 16
JSON = {"Content-Type": "application/json"}
# Settings of this machine that would send one way elsewhere, or have it trust others.
_STRANGE = ("http_proxy", "https_proxy", "all_proxy", "requests_ca_bundle", "curl_ca_bundle")


def ours(options: argparse.Namespace) -> Callable[[], None]:
    """Prepare the provider's own path: one run of a DispatchLeadsOperator, without Airflow."""
    from zbl_provider.log.model import Status

    dispatch = dispatching(options)

    def run() -> None:
        counts = dispatch().counts
        assert counts == {Status.DELIVERED: options.count}, counts

    return run


def dispatching(
    options: argparse.Namespace, integration: str = "bench", in_flight: int = IN_FLIGHT
) -> Callable[[], Report]:
    """Prepare one dispatch of all leads of a file; others may drain the same log meanwhile."""
    from cryptography.fernet import Fernet

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.guard import Guard
    from zbl_provider.delivery.schedule import Schedule
    from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
    from zbl_provider.dispatch.intake import find
    from zbl_provider.log.model import RunKey
    from zbl_provider.log.store import DeliveryLog

    # One key for all processes of a measurement: they may send each other's leads.
    secret = options.key.encode() if options.key else Fernet.generate_key()
    log = DeliveryLog(options.log, cipher=Fernet(secret), keys=[secret])
    log.upgrade()
    settings = extra(max_concurrency=in_flight)
    if options.authority:
        settings["verify"] = options.authority
    url = options.url or "https://bench.example/"
    dispatcher = Dispatcher(
        log=log,
        destination=Destination.parse(integration=integration, host=url, extra=settings),
        guard=Guard.parse("127.0.0.0/8, ::1/128"),
        policy=Policy(schedule=Schedule.DEFAULT),
    )

    def dispatch() -> Report:
        key = RunKey(integration, "bench", f"{os.getpid()} {time.time()}")
        return dispatcher.dispatch(key, 0, find(read_rows(options.leads), None))

    return dispatch


def nothing_new(options: argparse.Namespace) -> Callable[[], None]:
    """Prepare a run of the provider that finds only leads that were delivered before."""
    dispatch = dispatching(options)

    def run() -> None:
        report = dispatch()
        assert (report.skipped, report.counts) == (options.count, {}), report

    return run


def ten_new(options: argparse.Namespace) -> Callable[[], None]:
    """Prepare a run of the provider that finds ten new leads after many that were delivered."""
    from zbl_provider.log.model import Status

    dispatch = dispatching(options)

    def run() -> None:
        report = dispatch()
        assert (report.skipped, report.counts) == (options.count, {Status.DELIVERED: 10}), report

    return run


def look(options: argparse.Namespace) -> Callable[[], None]:
    """Prepare one look of a watcher at leads that were delivered before."""
    from zbl_provider.delivery.destination import Destination
    from zbl_provider.log.store import DeliveryLog
    from zbl_provider.watch.backlog import read_backlog

    log = DeliveryLog(options.log)
    log.upgrade()
    destination = Destination.parse(integration="bench", host="https://bench.example/")

    def run() -> None:
        assert not list(read_backlog(read_rows(options.leads), None, destination, log))

    return run


def read_alone(options: argparse.Namespace) -> Callable[[], None]:
    """Prepare a loop that reads the rows and does nothing with them."""

    def run() -> None:
        assert sum(1 for _ in read_rows(options.leads)) == options.count

    return run


def bare_aiohttp(options: argparse.Namespace) -> Callable[[], None]:
    """Prepare a loop that posts ready-made bodies with aiohttp and asyncio, and nothing else."""
    import aiohttp

    ready = bodies(options.leads)
    context = ssl.create_default_context(cafile=options.authority)

    async def post_all() -> None:
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=context)
        async with aiohttp.ClientSession(connector=connector) as session:

            async def post(mine: Iterator[bytes]) -> None:
                for body in mine:
                    async with session.post(options.url, data=body, headers=JSON) as answer:
                        await answer.read()
                        assert answer.status == 200

            shared = iter(ready)
            await asyncio.gather(*(post(shared) for _ in range(IN_FLIGHT)))

    return lambda: asyncio.run(post_all())


def requests_sessions(options: argparse.Namespace) -> Callable[[], None]:
    """Prepare threads with a requests session each, which don't look at the environment."""
    import requests

    ready = iter(bodies(options.leads))
    lock = threading.Lock()

    def post() -> None:
        with requests.Session() as session:
            session.trust_env = False
            session.verify = options.authority
            while True:
                with lock:
                    body = next(ready, None)
                if body is None:
                    return
                _post(session, options.url, body)

    def run() -> None:
        with ThreadPoolExecutor(THREADS) as threads:
            for done in [threads.submit(post) for _ in range(THREADS)]:
                done.result()

    return run


def requests_shared(options: argparse.Namespace) -> Callable[[], None]:
    """Prepare threads that share one requests session as it comes: it keeps ten connections."""
    import requests

    ready = bodies(options.leads)
    # It warns of each connection beyond the ten: writing that down is no part of sending.
    logging.getLogger("urllib3").setLevel(logging.ERROR)

    def run() -> None:
        with requests.Session() as session, ThreadPoolExecutor(THREADS) as threads:
            session.verify = options.authority
            for _ in threads.map(lambda body: _post(session, options.url, body), ready):
                pass

    return run


def _post(session: Session, url: str, body: bytes) -> None:
    assert session.post(url, data=body, headers=JSON).status_code == 200


WAYS = {
    "ours": ours,
    "nothing-new": nothing_new,
    "ten-new": ten_new,
    "look": look,
    "read": read_alone,
    "aiohttp": bare_aiohttp,
    "requests-sessions": requests_sessions,
    "requests-shared": requests_shared,
}


def measure(way: str, count: int, **options: str) -> dict[str, float]:
    """
    Send leads in a process of its own.

    :param way: one of WAYS
    :param count: how many leads there are
    :param options: ``url``, ``authority`` and ``leads``; ``log`` for ours
    :return: ``seconds``, ``cpu`` seconds, and the peak of its memory as ``peak_mb``
    """
    command = [sys.executable, "-m", "benchmarks.ways", way, str(count)]
    for name, value in options.items():
        command += [f"--{name}", value]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment())
    return dict(json.loads(done.stdout.splitlines()[-1]))


def environment() -> dict[str, str]:
    """Return the environment without what makes HTTP clients go astray."""
    return {name: value for name, value in os.environ.items() if name.lower() not in _STRANGE}


def _child(options: argparse.Namespace) -> None:
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


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("way", choices=WAYS)
    parser.add_argument("count", type=int)
    for option in ("url", "authority", "leads", "log", "key"):
        parser.add_argument(f"--{option}")
    _child(parser.parse_args())
