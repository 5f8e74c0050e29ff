"""Many workers on one log, one of which is killed again and again, at random moments."""

from __future__ import annotations

import os
import random
import time
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

import pytest

from tests.faults.death.witness import OPEN, Tally, held_by, moody
from tests.faults.death.worker import Job, Worker
from tests.support.rest import wait_for
from zbl_provider.dispatch.dispatcher import utc_now

if TYPE_CHECKING:
    from tests.integration.dispatch.conftest import Setup

KILLS = int(os.environ.get("KILLS", "100"))
WORKERS = 4
BATCH = 150  # leads that one run finds
LEASE_SECONDS = 60


@dataclass
class Crowd:
    """Workers that each send what their run finds and whatever else is due; some are killed."""

    setup: Setup
    chance: random.Random
    stack: ExitStack
    numbers: count = field(default_factory=count)
    names: count = field(default_factory=count)
    working: list[tuple[int, Worker]] = field(default_factory=list)
    deaths: list[tuple[float, set[str]]] = field(default_factory=list)

    def start(self, run: int) -> None:
        """Start a worker on the run of this number, new or, like an Airflow retry, once more."""
        name = f"w{next(self.names)}."
        url = self.setup.log_url
        if url.startswith("postgresql"):
            url += f"{'&' if '?' in url else '?'}application_name={name}"
        worker = Worker(
            Job(
                log_url=url,
                url=f"{self.setup.receiver.url}/hook",
                authority=self.setup.authority,
                run=f"run {run}",
                leads=tuple(range(run * BATCH, (run + 1) * BATCH)),
                concurrency=8,
                waits=(1, 1, 1, 1),
                name=name,
            )
        )
        self.working.append((run, self.stack.enter_context(worker)))

    def keep_working(self) -> None:
        """Replace those that have done their work."""
        self.working = [pair for pair in self.working if pair[1].alive]
        while len(self.working) < WORKERS:
            self.start(next(self.numbers))

    def kill_one(self) -> None:
        run, worker = self.working.pop(self.chance.randrange(len(self.working)))
        worker.kill()
        self.deaths.append((time.time(), held_by(self.setup, worker.job.name)))
        self.start(run)

    def in_flight(self) -> list[set[str]]:
        """Return for each kill the leads that had left, and whose outcomes were not settled."""
        arrivals = {}
        for request in self.setup.receiver.received:
            arrivals.setdefault(request.lead_id, []).append(request.at)
        # What had left may arrive a little later; nobody sends it again before its lease is over.
        return [
            {
                lead_id
                for lead_id in held
                if any(at < then + LEASE_SECONDS / 2 for at in arrivals.get(lead_id, ()))
            }
            for then, held in self.deaths
        ]

    def finish(self) -> None:
        """Let all come to their ends, then send what the killed had, once its leases are over."""
        for _, worker in self.working:
            assert worker.wait(120) == 0
        until = time.monotonic() + LEASE_SECONDS + 120
        while self.setup.rows(OPEN) and time.monotonic() < until:
            self.setup.clock.now = utc_now()
            self.setup.dispatch("the last", schedule=(1, 1, 1, 1))
            time.sleep(1)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_kills_at_random_moments(setup_on, log_url, capsys):
    """Whichever worker dies when: no lead is lost, and twice come only those in flight (6.2)."""
    seed = int(os.environ.get("SEED", random.SystemRandom().randrange(10**6)))
    setup = setup_on(log_url)
    setup.answer(moody)
    begun = time.monotonic()
    with ExitStack() as stack:
        crowd = Crowd(setup, random.Random(seed), stack)
        while len(crowd.deaths) < KILLS:
            crowd.keep_working()
            time.sleep(crowd.chance.uniform(0.02, 0.8))
            crowd.keep_working()
            crowd.kill_one()
        crowd.finish()
        wait_for("the end of all", lambda: not any(w.alive for _, w in crowd.working), seconds=60)
    in_flight = crowd.in_flight()
    tally = Tally(setup, sum(map(Counter, in_flight), Counter()))
    twice = tally.more_than_recorded().total()
    leads = setup.rows("SELECT count(*) FROM zbl_delivery")[0][0]
    with capsys.disabled():
        print(  # noqa: T201  the figures of docs/faults.md
            f"\n{log_url.partition(':')[0]}, seed {seed}: {len(crowd.deaths)} kills of {WORKERS} "
            f"workers in {time.monotonic() - begun:.0f} s, {leads} leads, "
            f"{len(setup.sent)} requests, {len(tally.lost)} lost, {twice} duplicates, "
            f"{tally.without_need().total()} of leads that were in flight at no kill; "
            f"at most {max(map(len, in_flight))} leads in flight at one kill"
        )
    tally.check()
