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
def setup(setup_on, log_url):
    setup = setup_on(log_url)
    setup.clock.now = utc_now()
    return setup


def job(setup, **facts):
    return Job(
        **{
            "log_url": setup.log_url,
            "url": f"{setup.receiver.url}/hook",
            "authority": setup.authority,
            "run": "run 1",
            "leads": LEADS,
            "name": "dead",
        }
        | facts
    )


def kill_at(setup, step, **facts):
    """Run a worker into its death; return the leads that were in flight."""
    setup.log.close()  # its sessions are not to be taken for the worker's
    with Worker(job(setup, step=step, **facts)) as worker:
        assert worker.wait() == -signal.SIGKILL
    in_flight = held_by(setup, "%")
    known = {lead for (lead,) in setup.rows("SELECT lead_id FROM zbl_delivery")}
    assert set(setup.sent) <= known, "a lead was sent before it was in the log"
    return in_flight


def rescue(setup, **options):
    """Go on as Airflow's retry does, once the leases are over."""
    setup.clock.now = utc_now() + timedelta(minutes=2)
    return setup.dispatch_to_the_end("run 1", LEADS, **options)


@pytest.mark.parametrize("step", STEPS, ids=str)
def test_a_worker_killed_at_any_step_loses_no_lead(setup, step):
    """Each lead ends well or in error; twice come only those in flight, by one id (3.2, 6.2)."""
    setup.answer(moody)
    setup.extra = {"active": False}
    setup.dispatch("earlier", BEFORE)
    setup.extra = {}
    in_flight = kill_at(setup, step)
    assert rescue(setup).counts == ENDS
    Tally(setup, Counter(in_flight)).check()


@pytest.mark.parametrize("sent", [500, 511, 523])
def test_a_death_leaves_no_more_in_doubt_than_may_be_out_at_once(setup, sent):
    """However fast answers come, what is settled keeps up with what is sent (Contract 6.2)."""
    kill_at(setup, Step("send", "after", sent), leads=tuple(range(1000)), concurrency=8)
    recorded = setup.rows("SELECT count(*) FROM zbl_attempt")[0][0]
    assert 0 < len(setup.sent) - recorded <= 8


@pytest.mark.parametrize(
    "step",
    [Step("begin", "after"), Step("reopen", "commit"), Step("reopen", "after")],
    ids=str,
)
def test_a_clear_whose_worker_is_killed_is_acted_on_once(setup, step):
    """Its leads in error get five new attempts: not none, and not twice five (Contract 4.5)."""
    setup.answer(lambda _: Reply(422))
    setup.dispatch_to_the_end("run 1", LEADS)
    kill_at(setup, step, epoch=1)
    setup.answer(lambda _: Reply(500))
    assert rescue(setup, epoch=1, outages=False).counts == {Status.ERROR: len(LEADS)}
    made = setup.rows(
        "SELECT resend, number, count(*) FROM zbl_attempt GROUP BY 1, 2 ORDER BY 1, 2"
    )
    assert made == [(0, 1, len(LEADS)), *((1, attempt, len(LEADS)) for attempt in range(1, 6))]
    Tally(setup, Counter()).check()
