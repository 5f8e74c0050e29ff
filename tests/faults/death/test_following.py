"""SIGKILL and SIGTERM at each step of a task that stays and looks again."""

import os
import signal
from collections import Counter
from dataclasses import replace

import pytest

from tests.faults.death.witness import Tally, held_by, moody, refused
from tests.faults.death.worker import Job, Step, Worker
from tests.support.receiver import Reply
from tests.support.rest import wait_for
from zbl_provider.log.model import Status

pytestmark = pytest.mark.timeout(120)

LEADS = tuple(range(120))
BEFORE = LEADS[::4]  # wait in the log when it begins
SOON = (0.2, 0.2, 0.2, 0.2)
LEASE_SECONDS = 120
BEGUN = "SELECT id FROM zbl_run WHERE run_id = '{}'"
STATUSES = "SELECT status, count(*) FROM zbl_delivery GROUP BY status"
ENDS = {Status.ERROR: refused(LEADS), Status.DELIVERED: len(LEADS) - refused(LEADS)}

KILLED_AT = [
    Step("begin", "after"),
    Step("look", "before", 4),
    Step("unsettled", "after", 3),
    Step("enrol", "commit", 3),
    Step("enrol", "after", 4),
    Step("claim", "commit"),
    Step("claim", "after"),
    Step("send", "before", 60),
    Step("send", "after", 60),
    Step("send", "after", len(LEADS) + 4),  # of a retry
    Step("settle", "commit", 3),
    Step("settle", "after", 5),
]
ENDED_AT = [
    Step("look", "before", 4),
    Step("enrol", "commit", 3),
    Step("claim", "after"),
    Step("send", "after", 60),
    Step("send", "after", len(LEADS) + 4),
    Step("settle", "commit", 3),
    Step("integration", "after", 3),  # between looks, as it sees whether it is held
]


@pytest.fixture
def following(setup_on, log_url):
    """Give a setup, and a function that makes a worker on it that follows."""
    setup = setup_on(log_url)
    setup.answer(moody)
    setup.extra = {"active": False}
    setup.dispatch("earlier", BEFORE)
    setup.extra = {}

    def make(run="run 1", step=None, ahead=0, **facts):
        setup.log.close()  # its sessions are not to be taken for the worker's
        url = f"{setup.receiver.url}/hook"
        job = Job(
            log_url=log_url,
            url=url,
            authority=setup.authority,
            run=run,
            leads=LEADS,
            step=step,
            **{"follow": 60, "waits": SOON, "name": "dead"} | facts,
        )
        worker = Worker(job)
        worker.ahead.value = ahead
        return worker

    return setup, make


def follow_on(setup, make, run):
    """Have the Dag's next run follow until nothing is left to do, and end it as Airflow does."""
    with make(run, ahead=LEASE_SECONDS, name="next") as worker:
        wait_for("its beginning", lambda: setup.rows(BEGUN.format(run)), seconds=60, pause=0.05)
        wait_for("the rest", lambda: dict(setup.rows(STATUSES)) == ENDS, seconds=60, pause=0.05)
        os.kill(worker.pid, signal.SIGTERM)
        assert worker.wait() == 0


@pytest.mark.parametrize("step", KILLED_AT, ids=str)
def test_a_task_that_follows_is_killed_at_any_step_and_loses_no_lead(following, step):
    """The next run goes on; twice come only those in flight, by one id (4.12, 6.2)."""
    setup, make = following
    with make(step=step) as worker:
        assert worker.wait() == -signal.SIGKILL
    in_flight = held_by(setup, "%")
    follow_on(setup, make, "run 2")
    Tally(setup, Counter(in_flight)).check()


@pytest.mark.parametrize("step", ENDED_AT, ids=str)
def test_a_task_that_follows_ends_at_any_step_with_nothing_in_doubt(following, step):
    """What is in flight is settled, the rest is free at once, and nothing comes twice (4.12)."""
    setup, make = following
    with make(step=replace(step, blow=signal.SIGTERM)) as worker:
        assert worker.wait() == 0
    assert held_by(setup, "%") == set()
    assert Tally(setup, Counter()).more_than_recorded() == Counter()
    follow_on(setup, make, "run 2")
    Tally(setup, Counter()).check()


def test_attempts_that_were_made_before_a_kill_count_in_the_next_run(following):
    """Retries go on where they were: five in all, each by the schedule (3.1, 4.12)."""
    setup, make = following
    setup.answer(lambda request: Reply(503 if int(request.lead_id) < 5 else 200))
    attempts = "SELECT lead_id, attempts, status FROM zbl_delivery WHERE status <> 'delivered'"
    with make(waits=(0.2, 60, 0.2, 0.2)) as worker:
        wait_for(
            "the second attempts",
            lambda: len(setup.rows(f"{attempts} AND attempts = 2")) == 5,
            seconds=60,
        )
        worker.kill()
    with make("run 2", ahead=LEASE_SECONDS, name="next", waits=(0.2, 60, 0.2, 0.2)) as worker:
        ends = {Status.ERROR: 5, Status.DELIVERED: len(LEADS) - 5}
        wait_for("the rest", lambda: dict(setup.rows(STATUSES)) == ends, seconds=60)
        worker.kill()
    assert sorted(setup.rows(attempts)) == [(str(lead_id), 5, "error") for lead_id in range(5)]
    assert [setup.sent.count(str(lead_id)) for lead_id in range(5)] == [5] * 5
