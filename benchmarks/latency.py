"""How long a lead takes through the log when leads come at a steady pace, not all at once."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import quantiles
from typing import TYPE_CHECKING, Any

from benchmarks.figures import Figure
from benchmarks.leads import NAMES, extra, rows
from benchmarks.nginx import running_nginx
from benchmarks.running import run_benchmarks
from benchmarks.ways import environment
from tests.support.databases import empty_database, running_postgres
from zbl_provider.log.store import DeliveryLog

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from zbl_provider.log.model import Candidate, Enrolment, Run, Settlement

RATE = 200
INTEGRATION = "bench"

Row = tuple[list[str], tuple[Any, ...]]


def main(*, quick: bool = False) -> list[Figure]:
    """Offer leads to one dispatch, in a process of its own."""
    seconds = 3 if quick else 60
    with (
        running_nginx() as nginx,
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_postgres(Path(name) / "postgres", durable=True) as server,
        empty_database(server) as log,
    ):
        command = [sys.executable, "-m", "benchmarks.latency"]
        command += ["--child", nginx.url, nginx.authority, log, str(seconds)]
        done = subprocess.run(
            command, check=True, stdout=subprocess.PIPE, text=True, env=environment()
        )
    seen = json.loads(done.stdout.splitlines()[-1])
    _show(seen, seconds)
    return [
        Figure(
            name=f"Enrolled to settled at {RATE} leads/s, p95",
            value=seen["enrolled"]["p95"],
            unit="s",
            goal=0.03,
            bound=0.1,
            note=f"{seconds} s, one dispatch, PostgreSQL log, 16 in flight; a peer: Convoy "
            "publishes p95 0.127 s at 200/s, 0.124 s at 50/s",
        )
    ]


def _show(seen: dict[str, dict[str, float]], seconds: int) -> None:
    print(f"{RATE} leads/s for {seconds} s, PostgreSQL log; seconds until the outcome is written")
    print(f"{'from':<30}{'p50':>8}{'p95':>8}{'max':>8}")
    for what, since in (("enrolled", "its write in the log"), ("offered", "its row's being there")):
        print(f"{since:<30}" + "".join(f"{seen[what][at]:>8.3f}" for at in ("p50", "p95", "max")))


class _WatchedLog(DeliveryLog):
    """A log that remembers when its writes had returned, by the ids of their leads."""

    def __init__(self, url: str) -> None:
        from cryptography.fernet import Fernet

        key = Fernet.generate_key()
        super().__init__(url, cipher=Fernet(key), keys=[key])
        self.enrolled: dict[str, float] = {}
        self.settled: dict[str, float] = {}

    def enrol(
        self,
        run: Run,
        integration: str,
        candidates: Sequence[Candidate],
        now: datetime,
        **options: Any,
    ) -> Enrolment:
        done = super().enrol(run, integration, candidates, now, **options)
        self.enrolled |= dict.fromkeys(
            (candidate.lead_id for candidate in candidates), time.perf_counter()
        )
        return done

    def settle(self, settlements: Sequence[Settlement], run: Run) -> list[Settlement]:
        fenced = super().settle(settlements, run)
        leads = (settlement.claimed.lead_id for settlement in settlements)
        self.settled |= dict.fromkeys(leads, time.perf_counter())
        return fenced


def _offered(count: int, offers: dict[str, float]) -> Iterator[Row]:
    """
    Yield rows when their time has come.

    A row that nobody has asked for then was there all the same, and waits: it counts from its time.
    """
    begun = time.perf_counter()
    for place, row in enumerate(rows(count)):
        due = begun + place / RATE
        time.sleep(max(0.0, due - time.perf_counter()))
        offers[row[0]] = due
        yield NAMES, row


def _child(url: str, authority: str, log_url: str, seconds: int) -> None:
    """Dispatch, and print how long the leads took."""
    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.guard import Guard
    from zbl_provider.delivery.schedule import Schedule
    from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
    from zbl_provider.dispatch.intake import read
    from zbl_provider.log.model import RunKey, Status

    offers: dict[str, float] = {}
    log = _WatchedLog(log_url)
    log.upgrade()
    dispatcher = Dispatcher(
        log=log,
        destination=Destination.parse(
            integration=INTEGRATION, host=url, extra=extra(verify=authority)
        ),
        guard=Guard.parse("127.0.0.0/8, ::1/128"),
        policy=Policy(schedule=Schedule.DEFAULT),
    )
    leads = read(_offered(seconds * RATE, offers), None)
    report = dispatcher.dispatch(RunKey("bench", "bench", "bench"), 0, leads)
    assert report.counts == {Status.DELIVERED: seconds * RATE}, report.counts
    assert offers.keys() == log.enrolled.keys() == log.settled.keys()
    seen = {
        what: _spread([at - begun[lead] for lead, at in log.settled.items()])
        for what, begun in (("enrolled", log.enrolled), ("offered", offers))
    }
    print(json.dumps(seen))


def _spread(times: list[float]) -> dict[str, float]:
    cuts = quantiles(times, n=100, method="inclusive")
    return {"p50": cuts[49], "p95": cuts[94], "max": max(times)}


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        _child(sys.argv[2], sys.argv[3], sys.argv[4], int(sys.argv[5]))
    else:
        run_benchmarks({"latency": main})
