"""Leads that are claimed and wait for a sender: never too few, and no more than can be sent."""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from functools import partial
from typing import TYPE_CHECKING

from zbl_provider.dispatch.loop import MOMENT_SECONDS
from zbl_provider.dispatch.rate import Rate

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime, timedelta

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.dispatch.breaker import Breaker
    from zbl_provider.log.awaited import AwaitedLog
    from zbl_provider.log.model import Claimed, Run
    from zbl_provider.log.store import DeliveryLog

_LARGEST_CLAIM = 500
# So much of what is enrolled is claimed in the same write, and rests in memory, at most.
_ENOUGH_LEADS, _ENOUGH_BYTES = 1000, 16 * 2**20
_SHORT_SUPPLY_SECONDS, _LONG_SUPPLY_SECONDS = 1, 5  # how long one claim keeps the senders busy
_POLL_SECONDS = 0.25
# How long enrolment waits for the senders before it runs ahead of them: half a second a batch.
_LOOKS, _PAUSE_SECONDS = 50, 0.01


class Supply:
    """
    Claims what is due, and hands it to the senders.

    :param log: the delivery log
    :param run: the run that claims
    :param destination: how much at once (``max_concurrency``) and how fast (``max_rate``)
    :param only_own: claim this run's leads alone
    :param breaker: half-open, it lets one lead through
    :param clock: gives the present time
    :param is_over: tells whether nothing more is to be sent, though more may be found
    :param idle_seconds: how long a lead that became due by itself may go unnoticed meanwhile
    """

    def __init__(
        self,
        *,
        log: AwaitedLog,
        run: Run,
        destination: Destination,
        only_own: bool,
        breaker: Breaker,
        clock: Callable[[], datetime],
        is_over: Callable[[], bool],
        idle_seconds: float = _POLL_SECONDS,
    ) -> None:
        self._log = log
        self._run = run
        self._destination = destination
        self._only_own = only_own
        self._breaker = breaker
        self._clock = clock
        self._is_over = is_over
        self._idle_seconds = idle_seconds
        self._rate = Rate(destination.max_rate)
        self._ready: asyncio.Queue[Claimed | None] = asyncio.Queue()
        self._changed = asyncio.Event()
        self._ready_bytes = 0
        self._taken = 0  # by senders, since then
        self._counted_at = time.monotonic()
        self._pace = 0.0  # how many they take in a second
        self._refused: list[Claimed] = []
        self.in_flight = 0  # claimed, and neither settled nor released
        self.fed = True  # more may still be enrolled

    async def run(self) -> None:
        """Keep the senders supplied; return when nothing is due and nothing can become due."""
        first_limit = limit = self._rate.largest_claim(2 * self._destination.max_concurrency)
        while not self._is_over():
            if refused := self._refused:
                self._refused = []
                await self.release(refused)
            # Looked at before the claim: a lead enrolled or released after it is not overlooked.
            quiet = not self.fed and self.in_flight == 0
            self._changed.clear()
            # What becomes of the lead that is tried decides whether there is another.
            probe = self._breaker.half_open and self.in_flight == 0
            claim = partial(
                self._claim, limit, probe=probe, retries_only=self._breaker.down and not probe
            )
            if claimed := await self._log.call(claim, self.take):
                self.take(claimed)
                took = await self._until_low(limit)
                # More at once where the senders are fast, and less where they are slow.
                if took < _SHORT_SUPPLY_SECONDS and not self._rate.limited:
                    limit = min(2 * limit, max(_LARGEST_CLAIM, first_limit))
                elif took > _LONG_SUPPLY_SECONDS and not self._rate.limited:
                    limit = max(limit // 2, first_limit)
            elif quiet:
                return
            else:
                await self._until_changed(self._idle_seconds)
                await self._moment_or_end()
                await self._until_low(limit, _SHORT_SUPPLY_SECONDS)

    def _claim(
        self, limit: int, log: DeliveryLog, *, probe: bool, retries_only: bool
    ) -> list[Claimed]:
        return log.claim(
            self._destination.integration,
            limit,
            self._clock(),
            self._rate.lease,
            run=self._run,
            only_own=self._only_own,
            probe=probe,
            retries_only=retries_only,
        )

    async def next(self) -> Claimed | None:
        """Take a lead when it may leave; None when there are no more."""
        return await self._rate.paced(self._take, self.put_back, self._is_over)

    async def _take(self) -> Claimed | None:
        if (claimed := await self._ready.get()) is not None:
            self._ready_bytes -= len(claimed.body)
            self._taken += 1
        return claimed

    def put_back(self, claimed: Claimed) -> None:
        """Let a lead be given back with the rest."""
        self._put(claimed)

    def refuse(self, claimed: Claimed) -> None:
        """Give a lead back that may not be tried now: its destination is down (8.7)."""
        self._refused.append(claimed)
        self._changed.set()

    def close(self) -> None:
        """Give each sender a None, once."""
        for _ in range(self._destination.max_concurrency):
            self._ready.put_nowait(None)

    def wake(self) -> None:
        """Look again: something has changed."""
        self._changed.set()

    def wake_if_empty(self) -> None:
        """Look again if the senders have nothing left to take."""
        if self._ready.empty():
            self._changed.set()

    def end_of_feed(self) -> None:
        """Nothing more is enrolled."""
        self.fed = False
        self._changed.set()

    def settled(self, count: int) -> None:
        """So many leads are out of hand."""
        self.in_flight -= count
        self._changed.set()

    async def spare_lease(self, size: int) -> timedelta | None:
        """
        Let a batch be claimed as it is enrolled, if the senders use it up within seconds.

        Where they are slow, what somebody puts first meanwhile would wait behind it (3.5).

        :param size: how many leads it has
        """
        enough = self._enough()
        too_much = self._rate.limited or size > 2 * enough
        if too_much or self._breaker.half_open or self._breaker.down:
            return None
        for _ in range(_LOOKS):
            if self._is_over():
                return None
            if self._ready.qsize() < enough and self._ready_bytes < _ENOUGH_BYTES:
                return self._rate.lease
            await asyncio.sleep(_PAUSE_SECONDS)
        return None

    def _enough(self) -> float:
        """Return how many leads the senders take in a second, as far as they have shown it."""
        now = time.monotonic()
        pace = self._taken / max(now - self._counted_at, 0.001)
        self._pace = max(pace, self._pace / 2)
        self._taken, self._counted_at = 0, now
        return max(4 * self._destination.max_concurrency, min(self._pace, _ENOUGH_LEADS))

    async def take_or_release(self, claimed: Sequence[Claimed]) -> None:
        """
        Take what was claimed as it was enrolled.

        :param claimed: released where nothing more is to be sent
        """
        if claimed and self._is_over():
            self.in_flight += len(claimed)
            await self.release(claimed)
        else:
            self.take(claimed)

    def take(self, claimed: Sequence[Claimed]) -> None:
        """Hand claimed leads to the senders; what no sender takes is given back."""
        self.in_flight += len(claimed)
        for lead in claimed:
            self._put(lead)
        self._changed.set()

    def _put(self, claimed: Claimed) -> None:
        self._ready.put_nowait(claimed)
        self._ready_bytes += len(claimed.body)

    async def release(self, claimed: Sequence[Claimed]) -> None:
        """Give claimed leads back unsent; it is no attempt."""
        await self._log.call(lambda log: log.release(claimed, self._clock()))
        self.settled(len(claimed))

    async def release_unsent(self) -> None:
        """Give back all that no sender took."""
        if unsent := self.unsent():
            await self.release(unsent)

    def unsent(self) -> list[Claimed]:
        """Take all that no sender took."""
        unsent, self._refused, self._ready_bytes = self._refused, [], 0
        while not self._ready.empty():
            if (claimed := self._ready.get_nowait()) is not None:
                unsent.append(claimed)
        return unsent

    async def _until_low(self, limit: int, seconds: float = math.inf) -> float:
        """Wait until most of what was claimed is taken, or for so long; return how long it took."""
        started = time.monotonic()
        while (took := time.monotonic() - started) < seconds and not self._is_over():
            if self._ready.qsize() <= limit // 4:
                break
            self._changed.clear()
            await self._until_changed()
        return took

    async def _moment_or_end(self) -> None:
        """Wait, since each look costs a query; the one that finds the end is made at once."""
        until = time.monotonic() + MOMENT_SECONDS
        while (self.fed or self.in_flight) and (left := until - time.monotonic()) > 0:
            self._changed.clear()
            await self._until_changed(left)

    async def _until_changed(self, seconds: float = _POLL_SECONDS) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()
