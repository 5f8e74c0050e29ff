"""Many workers at once, each doing something else: none waits for another for ever."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from random import Random

from tests.integration.log.setup import Setup, delivered, failed, lead
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import OPEN, Settlement
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog

WORKERS = 6
STEPS = 60
LEADS = 100


class Worker:
    """Does what tasks do, in an order of its own, on a few runs that others work on, too."""

    def __init__(self, url, seed):
        self.random = Random(seed)
        self.setup = Setup(DeliveryLog(url))

    def work(self):
        acts = [self.enrol, self.enrol, self.claim, self.claim, self.claim, self.clear, self.purge]
        acts += [self.resend]
        for _ in range(STEPS):
            run = self.setup.run(f"{self.random.randrange(4)}")
            self.random.choice(acts)(run)
        self.setup.log.close()

    def enrol(self, run):
        ids = self.random.sample(range(LEADS), 40)
        batch = [lead(f"{n}", fingerprint=self.random.choice(["f1", "f2"])) for n in ids]
        self.setup.enrol(run, *batch, resend_delivered=self.random.random() < 0.5)

    def claim(self, run):
        log, now = self.setup.log, self.setup.now
        # A lease that has run out at once makes every worker a stale one now and then.
        lease = self.random.choice([timedelta(0), timedelta(hours=1)])
        claimed = log.claim("zapier", 30, now, lease, run=run)
        self.random.shuffle(claimed)
        sent, unsent = claimed[5:], claimed[:5]
        log.settle([self.settlement(lead) for lead in sent], run)
        log.release(unsent, now)

    def settlement(self, claimed):
        outcome = self.random.choice([delivered, failed])()
        return Settlement(claimed, outcome, self.setup.now, None)

    def clear(self, run):
        epoch = self.random.randrange(1_000_000)
        run = self.random.choice([run, replace(run, chosen=True)])
        self.setup.log.reopen(run, epoch, self.setup.now, everything=self.random.random() < 0.5)

    def resend(self, _run):
        numbers = self.random.sample(range(1, LEADS + 1), 20)
        chosen = self.random.choice([numbers, Query()])
        self.setup.log.forget_choice(
            self.setup.log.resend(chosen, self.setup.now).runs, self.setup.now
        )

    def purge(self, _run):
        self.setup.log.purge_payloads(self.setup.now, timedelta(seconds=-60), limit=5)


def test_a_crowd_of_workers_gets_on(setup, log_url):
    """No two transactions block each other, and the log is whole afterwards (4.6, 6.2)."""
    workers = [Worker(log_url, seed) for seed in range(WORKERS)]
    with ThreadPoolExecutor(WORKERS) as pool:
        for done in [pool.submit(worker.work) for worker in workers]:
            done.result()
    rows = setup.rows()
    assert {row.lead_id for row in rows} == {f"{n}" for n in range(LEADS)}
    assert all((row.due_at is not None) == (row.status in OPEN) for row in rows)
    made = [
        (attempt.delivery_id, attempt.resend, attempt.number)
        for attempt in setup.rows(tables.attempt)
    ]
    assert len(set(made)) == len(made)
