"""An integration that a person holds, in the log (Contract 1.2 and 8.4)."""

import time
from datetime import timedelta
from types import SimpleNamespace

import pytest

from tests.integration.dispatch.conftest import key, lead
from tests.support.receiver import Reply
from zbl_provider.log.model import Status


def test_what_is_held_in_the_log_is_held_as_by_its_connection(setup):
    """Leads are recorded, not sent, and go out with the next run when it is resumed (8.4)."""
    setup.log.hold("zapier", "ana", setup.clock())
    report = setup.dispatch("run 1", [1, 2])
    assert (report.counts, report.due_at, setup.sent) == ({Status.PENDING: 2}, None, [])
    assert "ana" in report.held
    assert "airflow zbl integrations resume zapier" in report.held
    setup.log.resume("zapier")
    report = setup.dispatch("run 2", [3])
    assert (report.counts, report.held) == ({Status.DELIVERED: 3}, None)


def test_a_held_connection_says_what_lets_its_leads_go(setup):
    """`active` off is told apart from a hold in the log (Contract 1.2)."""
    setup.extra = {"active": False}
    assert "Active" in setup.dispatch("run 1", [1]).held


def test_a_single_lead_waits_until_it_is_resumed(setup):
    """A task that is the lead waits, as with `active` off, and no moment ends that (8.4, 3.4)."""
    setup.log.hold("zapier", "ana", setup.clock())
    report = setup.dispatch("run 1", [1], only_own=True)
    assert (report.kept_back, report.due_at) == (True, None)
    setup.log.resume("zapier")
    report = setup.dispatch("run 1", only_own=True, resumed=True)
    assert (report.kept_back, report.counts) == (False, {Status.DELIVERED: 1})


def test_who_does_not_wait_does_not_wait_for_a_hold(setup):
    """With `wait_for_retries=False` the task ends, held as it is (8.4, 4.7)."""
    setup.log.hold("zapier", "ana", setup.clock())
    report = setup.dispatch("run 1", [1], only_own=True, wait_for_retries=False)
    assert (report.kept_back, report.due_at) == (False, None)


def test_a_single_lead_that_another_task_is_sending_is_not_waited_for_till_the_end_of_a_hold(setup):
    """Its outcome comes within seconds; what a dead worker left waits as the others (8.4, 4.6)."""
    setup.answer(lambda _: Reply(503))
    setup.dispatch("run 1", [1], only_own=True)
    setup.clock.now += timedelta(minutes=1)
    other = setup.log.begin(key("other"), "zapier", 0, setup.clock())
    setup.log.claim("zapier", 1, setup.clock(), timedelta(seconds=90), run=other)
    setup.log.hold("zapier", "ana", setup.clock())
    report = setup.dispatch("run 1", only_own=True, resumed=True)
    assert not report.kept_back
    assert setup.clock.now < report.due_at < setup.clock.now + timedelta(seconds=30)
    setup.clock.now += timedelta(seconds=90)
    assert setup.dispatch("run 1", only_own=True, resumed=True).kept_back


@pytest.mark.parametrize("max_rate", [None, 40])
def test_a_hold_stops_a_task_that_is_sending(setup, max_rate):
    """What is in flight is settled, the rest is given back, found leads are recorded (8.4)."""
    setup.extra = {"max_concurrency": 4, "max_rate": max_rate}

    def answer(_):
        setup.log.hold("zapier", "ana", setup.clock())
        return Reply(after=0.05)

    setup.answer(answer)
    report = setup.dispatch("run 1", list(range(1000)))
    assert "ana" in report.held
    assert report.counts == {
        Status.DELIVERED: len(setup.sent),
        Status.PENDING: 1000 - len(setup.sent),
    }
    assert 0 < len(setup.sent) < 500
    setup.answer(lambda _: Reply())
    setup.extra = {}
    setup.log.resume("zapier")
    assert setup.dispatch("run 1", list(range(1000))).counts == {Status.DELIVERED: 1000}
    assert len(setup.sent) == 1000


def test_a_slow_notifier_keeps_no_hold_from_being_seen(setup):
    """People are told beside the watch: what is in hand is given back all the same (8.4, 8.7)."""
    setup.log.pause("zapier", 401, setup.clock())
    setup.log.resume("zapier")
    setup.extra = {"max_concurrency": 4}
    setup.answer(lambda _: Reply(after=0.05))
    sent = []

    def notify(change):
        assert change.kind == "back"
        setup.log.hold("zapier", "ana", setup.clock())
        time.sleep(2)
        sent.append(len(setup.sent))
        time.sleep(1)
        sent.append(len(setup.sent))

    setup.told = SimpleNamespace(append=notify)
    report = setup.dispatch("run 1", list(range(1000)))
    assert "ana" in report.held
    assert sent[0] == sent[1] < 1000


def test_what_is_given_back_does_not_wait_for_the_end_of_the_query(setup):
    """A hold frees the leads in hand at once, though the task goes on recording (8.4)."""
    setup.extra = {"max_concurrency": 2}

    def answer(_):
        setup.log.hold("zapier", "ana", setup.clock())
        return Reply(after=0.05)

    free = []

    def offered():
        yield from (lead(lead_id) for lead_id in range(600))
        free.append(is_free(setup))
        yield from (lead(lead_id) for lead_id in range(600, 700))

    setup.answer(answer)
    report = setup.dispatcher().dispatch(key("run 1"), 0, offered())
    assert free == [True], "while the query went on"
    assert report.counts[Status.PENDING] == 700 - len(setup.sent)


def test_a_hold_that_ends_while_the_query_is_read_leaves_nothing_behind(setup):
    """The task goes on with what was held meanwhile, since nobody else would soon (8.4, 4.6)."""
    setup.extra = {"max_concurrency": 2}

    def answer(_):
        setup.log.hold("zapier", "ana", setup.clock())
        return Reply(after=0.05)

    def offered():
        yield from (lead(lead_id) for lead_id in range(600))
        time.sleep(1.5)  # the task looks each second whether it is held
        assert is_free(setup)
        setup.answer(lambda _: Reply())
        setup.log.resume("zapier")

    setup.answer(answer)
    report = setup.dispatcher().dispatch(key("run 1"), 0, offered())
    assert (report.held, report.paused) == (None, None)
    assert report.counts[Status.PENDING] == 600 - len(setup.sent)
    setup.clock.now = report.due_at
    assert setup.dispatch_to_the_end("run 1").counts == {Status.DELIVERED: 600}


def is_free(setup):
    """Wait until nothing is in hand any more, and tell whether that came."""
    for _ in range(200):
        states = dict(setup.rows("SELECT status, count(*) FROM zbl_delivery GROUP BY status"))
        if "delivered" in states and "sending" not in states:
            return True
        time.sleep(0.1)
    return False
