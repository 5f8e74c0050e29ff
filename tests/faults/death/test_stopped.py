"""A worker that is stopped for longer than its lease, and goes on."""

import os
import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import timedelta

import psutil
import pytest
from sqlalchemy import make_url

from tests.faults.death.witness import Tally
from tests.faults.death.worker import Job, Step, Worker
from tests.support.receiver import Reply
from tests.support.rest import wait_for
from zbl_provider.dispatch.dispatcher import utc_now
from zbl_provider.log.model import Status

pytestmark = pytest.mark.timeout(120)

LEADS = tuple(range(200))
AT_ONCE = 4
AN_HOUR = timedelta(hours=1)
SETTLED = "SELECT lead_id FROM zbl_delivery WHERE attempts > 0"


@pytest.fixture
def stopped(setup_on, log_url):
    """Give a setup, and a function that makes a worker on it."""
    setup = setup_on(log_url)
    setup.clock.now = utc_now()

    def make(step=None, **facts):
        return Worker(
            Job(
                log_url=facts.pop("log_url", log_url),
                url=f"{setup.receiver.url}/hook",
                authority=setup.authority,
                run="stopped",
                leads=LEADS,
                concurrency=AT_ONCE,
                step=step,
                name="stopped",
            )
        )

    return setup, make


def is_stopped(worker):
    return psutil.Process(worker.pid).status() == psutil.STATUS_STOPPED


def can_be_written(log_url):
    """Tell whether no transaction holds the log as a whole."""
    if not log_url.startswith("sqlite"):
        return True
    with closing(sqlite3.connect(make_url(log_url).database, timeout=0)) as log:
        try:
            log.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        log.rollback()
    return True


def test_a_worker_that_wakes_after_its_lease_settles_and_sends_nothing_of_it(stopped):
    """Another has its leads by then: what it still has in hand it no longer sends (4.6)."""
    setup, make = stopped
    worker = make()

    def stops_free(worker):
        if can_be_written(setup.log_url):
            return True
        os.kill(worker.pid, signal.SIGCONT)
        time.sleep(0.002)
        os.kill(worker.pid, signal.SIGSTOP)
        wait_for("the next stop", lambda: is_stopped(worker), seconds=10, pause=0.001)
        return False

    numbers, lock = iter(range(1, 10_000)), threading.Lock()

    def answer(_):
        with lock:
            if next(numbers) == 60:
                os.kill(worker.pid, signal.SIGSTOP)
        return Reply(after=0.02)

    setup.answer(answer)
    with worker:
        wait_for("the stop", lambda: is_stopped(worker), seconds=60, pause=0.05)
        # SQLite's one lock stays with a process that is stopped: let it finish its transaction.
        wait_for("a stop outside a transaction", lambda: stops_free(worker), seconds=30, pause=0)
        # Requests that had left it before are answered, though nobody listens.
        done = [-1]
        wait_for(
            "the last answers",
            lambda: done.append(len(setup.sent)) or done[-1] == done[-2],
            seconds=30,
            pause=0.3,
        )
        before = set(setup.sent)
        settled = {lead for (lead,) in setup.rows(SETTLED)}

        setup.clock.now = utc_now() + AN_HOUR
        report = setup.dispatch_to_the_end("other", LEADS)
        assert report.counts == {Status.DELIVERED: len(LEADS) - len(settled)}
        by_other = len(setup.sent)
        attempts = setup.rows("SELECT id, run_id, delivery_id FROM zbl_attempt ORDER BY id")

        worker.ahead.value = AN_HOUR.total_seconds()
        os.kill(worker.pid, signal.SIGCONT)
        assert worker.wait() == 0, "it ends in good order"
    assert setup.rows("SELECT id, run_id, delivery_id FROM zbl_attempt ORDER BY id") == attempts
    assert len(attempts) == len(LEADS)
    in_flight = before - settled
    late = setup.sent[by_other:]
    assert len(late) <= AT_ONCE, "it sends no more than what was on its way out at the stop"
    Tally(setup, Counter(in_flight) + Counter(late)).check()


def test_a_worker_that_stops_within_a_transaction_holds_up_nobody_for_long(stopped, request):
    """The server lets go of its locks; what it has in hand it cannot write any more (4.6, 6.2)."""
    setup, make = stopped
    if setup.log_url.startswith("sqlite"):
        pytest.skip("SQLite locks the whole file: others wait for as long as their busy timeout")
    quick = f"{setup.log_url}&options=-c%20idle_in_transaction_session_timeout%3D1000"
    step = Step("enrol", "commit", 2, signal.SIGSTOP)
    with make(step, log_url=quick) as worker:
        wait_for("the stop", lambda: is_stopped(worker), seconds=60, pause=0.05)
        before = set(setup.sent)
        assert setup.rows(SETTLED) == [], "it stopped before its first commit"
        setup.clock.now = utc_now() + AN_HOUR
        report = setup.dispatch_to_the_end("other", LEADS)
        assert report.counts == {Status.DELIVERED: len(LEADS)}
        worker.ahead.value = AN_HOUR.total_seconds()
        os.kill(worker.pid, signal.SIGCONT)
        assert worker.wait() == 0
    Tally(setup, Counter(before) + Counter(setup.sent[-AT_ONCE:])).check()
    assert len(setup.rows("SELECT id FROM zbl_attempt")) == len(LEADS)
