"""How much goes to a destination at once, and how fast (Contract 1.2)."""

import asyncio
import threading
import time
from datetime import timedelta
from types import ModuleType, SimpleNamespace

import pytest

from demo.receiver import Reply
from zbl_provider import drain
from zbl_provider.log.model import Status


def test_no_more_requests_are_in_flight_than_the_connection_allows(bench):
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

    bench.extra = {"max_concurrency": 3}
    bench.answer(answer)
    assert bench.dispatch("run 1", list(range(30))).counts == {Status.DELIVERED: 30}
    assert most[0] == 3


def test_no_more_requests_start_in_a_second_than_the_connection_allows(bench):
    """`max_rate` holds as the receiver sees it, from the first request on."""
    bench.extra = {"max_rate": 50}
    bench.dispatch("run 1", list(range(40)))
    times = sorted(request.at for request in bench.receiver.received)
    assert len(times) == 40
    # 39 slots of 20 ms lie between the first and the last; a request may be late, not early.
    assert times[-1] - times[0] >= 39 * 0.02 - 0.05


@pytest.mark.timeout(30)
def test_a_slow_rate_sends_every_lead(bench, monkeypatch):
    """No lead's lease runs out while senders wait for their slots, however few there are (6.2)."""

    async def sleep(seconds):
        if seconds > 1:
            bench.clock.now += timedelta(seconds=seconds)
        await asyncio.sleep(0)

    def monotonic():
        return bench.clock.now.timestamp()

    slow = ModuleType("asyncio")
    slow.__dict__.update(asyncio.__dict__, sleep=sleep)
    monkeypatch.setattr(drain, "asyncio", slow)
    monkeypatch.setattr(drain, "time", SimpleNamespace(sleep=time.sleep, monotonic=monotonic))
    bench.extra = {"max_rate": 0.2}
    report = bench.dispatch("run 1", list(range(30)))
    assert report.counts == {Status.DELIVERED: 30}
    assert len(bench.sent) == 30
