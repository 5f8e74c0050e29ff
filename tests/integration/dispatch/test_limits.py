"""How much goes to a destination at once, and how fast (Contract 1.2)."""

import asyncio
import contextlib
import threading
import time
from datetime import timedelta
from types import ModuleType, SimpleNamespace

import pytest

from tests.integration.dispatch.conftest import key, lead
from tests.support.receiver import Reply
from zbl_provider.delivery.exchange import Failure, FailureKind
from zbl_provider.delivery.transport import Transport
from zbl_provider.dispatch import rate, supply
from zbl_provider.exceptions import DispatchStopped
from zbl_provider.log.model import Status
from zbl_provider.log.store import DeliveryLog


def test_no_more_requests_are_in_flight_than_the_connection_allows(setup):
    """`max_concurrency` holds as the receiver sees it, and is used."""
    lock, now, most = threading.Lock(), [0], [0]

    def answer(_):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        threading.Event().wait(0.02)
        with lock:
            now[0] -= 1
        return Reply()

    setup.extra = {"max_concurrency": 3}
    setup.answer(answer)
    assert setup.dispatch("run 1", list(range(30))).counts == {Status.DELIVERED: 30}
    assert most[0] == 3


def test_no_more_requests_start_in_a_second_than_the_connection_allows(setup):
    """`max_rate` holds as the receiver sees it, from the first request on."""
    setup.extra = {"max_rate": 50}
    setup.dispatch("run 1", list(range(40)))
    times = sorted(request.at for request in setup.receiver.received)
    assert len(times) == 40
    # 39 slots of 20 ms lie between the first and the last; the first may be late to arrive.
    assert times[-1] - times[0] >= 39 * 0.02 - 0.3


def test_a_rate_claims_no_more_than_it_sends_soon(setup):
    """Under `max_rate` leads stay free for other tasks until their turn is near (4.6)."""
    setup.extra = {"max_rate": 100, "max_concurrency": 2}
    claimed = []

    def answer(_):
        claimed.extend(setup.rows("SELECT count(*) FROM zbl_delivery WHERE status = 'sending'"))
        return Reply()

    setup.answer(answer)
    assert setup.dispatch("run 1", list(range(60))).counts == {Status.DELIVERED: 60}
    assert max(count for (count,) in claimed) <= 16


@pytest.mark.timeout(30)
def test_a_slow_rate_sends_every_lead(setup, monkeypatch):
    """Leads that wait for their slots don't outlive their leases, again and again (1.2, 6.2)."""
    start, began = setup.clock.now, time.monotonic()

    def fast():
        return 100 * (time.monotonic() - began)

    async def sleep(seconds):
        await asyncio.sleep(seconds / 100)

    hurried = ModuleType("asyncio")
    hurried.__dict__.update(asyncio.__dict__, sleep=sleep)
    for module in (rate, supply):
        monkeypatch.setattr(module, "asyncio", hurried)
        monkeypatch.setattr(module, "time", SimpleNamespace(sleep=time.sleep, monotonic=fast))
    setup.clock = lambda: start + timedelta(seconds=fast())
    setup.extra = {"max_rate": 0.1}
    given_back, release = [], setup.log.release
    monkeypatch.setattr(
        setup.log, "release", lambda leads, now: (given_back.extend(leads), release(leads, now))
    )
    assert setup.dispatch("run 1", list(range(24))).counts == {Status.DELIVERED: 24}
    # A sender gives back a lead whose lease is nearly over when its slot comes.
    assert given_back == []


@pytest.mark.parametrize("what", ["stop", "hold"])
def test_the_end_of_a_task_does_not_wait_for_a_slow_rate(setup, what):
    """Airflow kills what does not end in five seconds; a slot may be minutes away (1.2, 6.2)."""
    setup.extra = {"max_rate": 0.05}
    dispatcher = setup.dispatcher()
    ends = {"stop": dispatcher.stop, "hold": lambda: setup.log.hold("zapier", "ana", setup.clock())}

    def answer(_):
        threading.Timer(0.5, ends[what]).start()
        return Reply()

    setup.answer(answer)
    began = time.monotonic()
    report = dispatcher.dispatch(key("run 1"), 0, [lead(lead_id) for lead_id in range(5)])
    assert time.monotonic() - began < 10, "and not the twenty seconds of a slot"
    assert report.counts == {Status.DELIVERED: 1, Status.PENDING: 4}


@pytest.mark.timeout(30)
def test_a_lead_that_met_a_limit_of_this_machine_is_given_back(setup, monkeypatch):
    """It is sent again at once, not when its lease is over, and that is no attempt (2.6)."""
    send, tried = Transport.send, []

    async def short_of_files(self, request):
        tried.append(request.webhook_id)
        if len(tried) <= 3:
            return Failure(FailureKind.SHORTAGE, "this process may not open more files", 0.0)
        return await send(self, request)

    monkeypatch.setattr(Transport, "send", short_of_files)
    setup.extra = {"max_concurrency": 2}
    # The clock stands still: no lease runs out.
    assert setup.dispatch("run 1", range(5)).counts == {Status.DELIVERED: 5}
    assert len(tried) == 8
    assert len(setup.sent) == 5
    assert setup.rows("SELECT number, status_code FROM zbl_attempt") == [(1, 200)] * 5


def test_a_slow_log_has_few_outcomes_to_wait_for(setup, monkeypatch):
    """What was answered and is not settled may be sent again: there is never much of it (6.2)."""
    at_once = 16
    setup.extra = {"max_concurrency": at_once}
    settle, settled, most = DeliveryLog.settle, 0, 0

    def slowly(self, settlements, run):
        nonlocal settled, most
        time.sleep(0.15)
        most = max(most, len(setup.sent) - settled)
        fenced = settle(self, settlements, run)
        settled += len(settlements)
        return fenced

    monkeypatch.setattr(DeliveryLog, "settle", slowly)
    setup.dispatch("run 1", range(1500))
    assert settled == 1500
    # A server may have two groups more, which it carries out whoever dies.
    assert most <= (3 if setup.log_url.startswith("postgresql") else 1) * at_once


def test_a_slow_destination_has_few_leads_in_hand(setup):
    """What is sent now would wait behind them (Contract 3.5)."""
    setup.extra = {"max_concurrency": 4}
    most, begun = 0, threading.Event()

    def answer(_):
        nonlocal most
        begun.set()
        [(in_hand,)] = setup.rows("SELECT count(*) FROM zbl_delivery WHERE status = 'sending'")
        most = max(most, in_hand)
        time.sleep(0.2)
        return Reply()

    setup.answer(answer)
    dispatcher = setup.dispatcher()

    def stop():
        # On a busy machine the first lead alone may take seconds.
        begun.wait(60)
        time.sleep(5)
        dispatcher.stop()

    threading.Thread(target=stop, daemon=True).start()
    with contextlib.suppress(DispatchStopped):
        dispatcher.dispatch(key("run 1"), 0, [lead(lead_id) for lead_id in range(3000)])
    assert 0 < most <= 2 * 2 * 4 * 4
