"""A task that breaks gives back what it has claimed and not sent (Contract 6.2)."""

import asyncio
import logging
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy.util.concurrency import await_only, in_greenlet

from tests.integration.dispatch.conftest import TaskTimeout
from tests.support.receiver import Reply
from zbl_provider.log.store import DeliveryLog

LEADS = range(300)
AT_ONCE = 4


def claimed(setup):
    """Return the leads that nobody else may have yet."""
    query = "SELECT lead_id FROM zbl_delivery WHERE status = 'sending'"
    return {lead_id for (lead_id,) in setup.rows(query)}


def in_doubt(setup):
    """Return the leads that were sent, and of which no outcome is recorded."""
    query = "SELECT lead_id FROM zbl_delivery WHERE attempts > 0"
    return set(setup.sent) - {lead_id for (lead_id,) in setup.rows(query)}


def test_a_lead_that_waits_for_its_slot_is_free_at_once(setup, end_it):
    """With `max_rate` a sender has a lead in its hand, and has sent nothing of it (6.2, 1.2)."""
    setup.extra = {"max_concurrency": AT_ONCE, "max_rate": 0.2}
    setup.answer(lambda _: threading.Timer(0.5, end_it).start() or Reply())
    with pytest.raises(TaskTimeout):
        setup.dispatch("run 1", LEADS)
    assert len(setup.sent) == 1
    assert claimed(setup) == set()


@pytest.mark.parametrize("call", ["claim", "enrol"])
def test_leads_that_are_claimed_as_the_task_breaks_are_free_at_once(
    setup, end_it, call, monkeypatch
):
    """A call cannot be ended: what it claims all the same is given back, too (6.2)."""
    setup.extra = {"max_concurrency": AT_ONCE}
    method = getattr(DeliveryLog, call)

    def slowly(*args, **options):
        end_it()
        time.sleep(0.5)
        return method(*args, **options)

    monkeypatch.setattr(DeliveryLog, call, slowly)
    with pytest.raises(TaskTimeout):
        setup.dispatch("run 1", LEADS)
    assert setup.sent == []
    assert claimed(setup) == set()


@pytest.mark.parametrize("log_url", ["sqlite"], indirect=True)  # the others start no thread for it
@pytest.mark.parametrize("call", ["claim", "enrol"])
def test_a_signal_between_the_start_of_a_claim_and_the_wait_for_it(
    setup, end_it, call, monkeypatch
):
    """A handler raises in the middle of anything, such as here, where nobody waits yet (6.2)."""
    setup.extra = {"max_concurrency": AT_ONCE}
    method, submit = getattr(setup.log, call), ThreadPoolExecutor.submit
    called, ended = threading.Event(), []

    def slowly(*args, **options):
        called.set()
        time.sleep(0.5)
        return method(*args, **options)

    def submit_and_end(*args):
        future = submit(*args)
        if not ended and called.wait(0.2):
            ended.append(call)
            end_it()
        return future

    setattr(setup.log, call, slowly)
    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit_and_end)
    with pytest.raises(TaskTimeout):
        setup.dispatch("run 1", LEADS)
    assert ended
    assert setup.sent == []
    assert claimed(setup) == set()


def test_what_was_in_flight_stays_claimed_and_goes_out_once_more(setup, end_it):
    """Its outcome is not known: it waits for its lease, and is the only one sent twice (6.2)."""
    setup.extra = {"max_concurrency": AT_ONCE}
    numbers, lock = iter(range(1, 10_000)), threading.Lock()

    def answer(_):
        with lock:
            n = next(numbers)
        if n == 50:
            threading.Timer(0.5, end_it).start()
        return Reply(after=1 if n >= 50 else 0)

    setup.answer(answer)
    with pytest.raises(TaskTimeout):
        setup.dispatch("run 1", LEADS)
    time.sleep(1)  # the receiver answers, though nobody listens
    doubtful = in_doubt(setup)
    assert 0 < len(doubtful) <= AT_ONCE
    assert claimed(setup) == doubtful
    setup.answer(lambda _: Reply())
    before = len(setup.sent)
    report = setup.dispatch_to_the_end("run 1", LEADS)
    assert sum(report.counts.values()) == len(LEADS)
    assert set(setup.sent[before:]) & set(setup.sent[:before]) == doubtful


def test_leads_that_wait_for_the_log_are_free_at_once(setup, end_it, monkeypatch):
    """While it is away nothing is sent; what a sender holds is free (6.2)."""
    setup.extra = {"max_concurrency": AT_ONCE}
    settle, slowly = DeliveryLog.settle, []
    monkeypatch.setattr(DeliveryLog, "waiting", property(lambda _: bool(slowly)))

    def settle_slowly(*args):
        if not slowly:
            slowly.append(True)
            threading.Timer(1, end_it).start()
            await_only(asyncio.sleep(2)) if in_greenlet() else time.sleep(2)
        return settle(*args)

    monkeypatch.setattr(DeliveryLog, "settle", settle_slowly)
    with pytest.raises(TaskTimeout):
        setup.dispatch("run 1", LEADS)
    assert claimed(setup) <= set(setup.sent)


def test_a_signal_after_the_last_lead_ends_the_task_all_the_same(setup, end_it, caplog):
    """Airflow has ended it: it does not go on to say that all is well (6.2)."""
    caplog.set_level(logging.INFO, "zbl_provider.dispatch.progress")
    progress = logging.getLogger("zbl_provider.dispatch.progress")
    progress.addFilter(ending := lambda record: end_it() or record)
    try:
        with pytest.raises(TaskTimeout):
            setup.dispatch("run 1", [1])
    finally:
        progress.removeFilter(ending)  # it would end the other tests of this process
    assert claimed(setup) == set()
