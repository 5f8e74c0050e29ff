"""SIGKILL at each step of the loop."""

import signal
from collections import Counter
from datetime import timedelta

import pytest

from tests.faults.death.witness import Tally, held_by, moody, refused
from tests.faults.death.worker import Job, Step, Worker
from tests.support.receiver import Reply
from zbl_provider.dispatch.dispatcher import utc_now
from zbl_provider.log.model import Status

pytestmark = pytest.mark.timeout(120)

LEADS = tuple(range(120))
BEFORE = LEADS[::2]  # known to the log before the worker finds them once more
ENDS = {Status.ERROR: refused(LEADS), Status.DELIVERED: len(LEADS) - refused(LEADS)}

STEPS = [
    Step("begin", "after"),
    Step("enrol", "commit"),
    Step("enrol", "after"),
    Step("claim", "commit"),
    Step("claim", "after"),
    Step("send", "before", 20),
    Step("send", "after", 20),
    Step("settle", "before", 2),
    Step("settle", "commit", 2),
    Step("settle", "after", 2),
    Step("counts", "after"),
    Step("next_due", "after"),  # when the task would have been deferred
]


@pytest.fixture
def bench(bench_on, log_url):
    bench = bench_on(log_url)
    bench.clock.now = utc_now()
    return bench


def job(bench, **facts):
    return Job(
        **{
            "log_url": bench.log_url,
            "url": f"{bench.receiver.url}/hook",
            "authority": bench.authority,
            "run": "run 1",
            "found": LEADS,
            "name": "dead",
        }
        | facts
    )


def kill_at(bench, step, **facts):
    """Run a worker into its death; return the leads that were in flight."""
    bench.log.close()  # its sessions are not to be taken for the worker's
    with Worker(job(bench, step=step, **facts)) as worker:
        assert worker.wait() == -signal.SIGKILL
    in_flight = held_by(bench, "%")
    known = {lead for (lead,) in bench.rows("SELECT lead_id FROM zbl_delivery")}
    assert set(bench.sent) <= known, "a lead was sent before it was in the log"
    return in_flight


def rescue(bench, **options):
    """Go on as Airflow's retry does, once the leases are over."""
    bench.clock.now = utc_now() + timedelta(minutes=2)
    return bench.dispatch_to_the_end("run 1", LEADS, **options)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_worker_killed_at_any_step_loses_no_lead(bench, step):
    """Each lead ends well or in error; twice come only those in flight, by one id (3.2, 6.2)."""
    bench.answer(moody)
    bench.extra = {"active": False}
    bench.dispatch("earlier", BEFORE)
    bench.extra = {}
    in_flight = kill_at(bench, step)
    assert rescue(bench).counts == ENDS
    Tally(bench, Counter(in_flight)).check()


@pytest.mark.parametrize(
    "step",
    [Step("begin", "after"), Step("reopen", "commit"), Step("reopen", "after")],
    ids=str,
)
def test_a_clear_whose_worker_is_killed_is_acted_on_once(bench, step):
    """Its leads in error get five new attempts: not none, and not twice five (Contract 4.5)."""
    bench.answer(lambda _: Reply(422))
    bench.dispatch_to_the_end("run 1", LEADS)
    kill_at(bench, step, epoch=1)
    bench.answer(lambda _: Reply(500))
    assert rescue(bench, epoch=1).counts == {Status.ERROR: len(LEADS)}
    made = bench.rows(
        "SELECT resend, number, count(*) FROM zbl_attempt GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert made == [(0, 1, len(LEADS)), *((1, number, len(LEADS)) for number in range(1, 6))]
    Tally(bench, Counter()).check()
