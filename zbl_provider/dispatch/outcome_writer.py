"""Outcomes go into the log in groups: an outcome waits a fraction of a second at most."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from zbl_provider.dispatch.breaker import Breaker
    from zbl_provider.log.awaited import AwaitedLog
    from zbl_provider.log.model import Run, Settlement
    from zbl_provider.log.store import DeliveryLog

    Observer = Callable[[Sequence[Settlement]], None]

logger = logging.getLogger(__name__)

_LARGEST_GROUP = 150  # outcomes settled in one write
_MOST_WAITING = 300  # outcomes that a death may cost, beside what is in flight
_GROUP_SECONDS = 0.015  # how long an outcome waits for others to be settled with,
_LONELY_SECONDS = 0.005  # and how long where they come one by one
_LONELY_GROUP = 20
_SLOW_SECONDS = 0.2


class OutcomeWriter:
    """
    Writes down what became of attempts, beside the senders that make them.

    :param log: the delivery log
    :param run: the run that makes the attempts
    :param breaker: has its decisions written down after the outcomes that led to them
    :param in_flight: tells how many leads are out, those whose outcomes wait here included
    :param observe: told of each group that is settled
    """

    def __init__(
        self,
        log: AwaitedLog,
        run: Run,
        breaker: Breaker,
        in_flight: Callable[[], int],
        observe: Observer | None = None,
    ) -> None:
        self._log = log
        self._run = run
        self._breaker = breaker
        self._in_flight = in_flight
        self._observe = observe
        self._waiting: asyncio.Queue[Settlement | None] = asyncio.Queue()
        self._enough = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._hand: list[Settlement] = []  # taken from there, and not settled yet
        self._since: float | None = None  # by the clock that never goes back

    @property
    def slow(self) -> bool:
        """Whether outcomes are on their way to the log for longer than a death should cost."""
        return self._since is not None and time.monotonic() - self._since > _SLOW_SECONDS

    async def room(self) -> None:
        """Wait until there are so few outcomes here that another one may come."""
        await self._room.wait()

    def put(self, settlement: Settlement) -> None:
        """Take an outcome; in the event loop's thread."""
        self._waiting.put_nowait(settlement)
        waiting = self._waiting.qsize() + len(self._hand)
        if waiting >= _MOST_WAITING:
            self._room.clear()
        if waiting >= _LARGEST_GROUP or waiting >= self._in_flight():
            self._enough.set()  # no more is to come, or no more is wanted

    def close(self) -> None:
        """Take no more: `run` ends when all is settled."""
        self._waiting.put_nowait(None)
        self._enough.set()

    async def run(self, settled: Callable[[int], Awaitable[None]]) -> None:
        """
        Settle what is put until `close`.

        :param settled: told, after each group, how many leads are out of hand
        """
        while group := await self._gather():
            self._since = time.monotonic()
            fenced = await self._log.call(partial(self._settle, group))
            self._since, self._hand = None, []
            if self._waiting.qsize() < _MOST_WAITING:
                self._room.set()
            if self._observe:
                self._observe(group)
            await self._breaker.record()
            if fenced:
                logger.warning("%d outcomes came after their leases had run out.", len(fenced))
            await settled(len(group))

    def _settle(self, group: Sequence[Settlement], log: DeliveryLog) -> list[Settlement]:
        return log.settle(group, self._run)

    def rest(self) -> list[Settlement]:
        """Give up what is not known to be settled, when `run` was ended before its time."""
        rest = [*self._hand]
        while not self._waiting.empty():
            if (settlement := self._waiting.get_nowait()) is not None:
                rest.append(settlement)
        return rest

    async def _gather(self) -> list[Settlement]:
        """Take outcomes in hand; there are none once the queue is closed."""
        if (settlement := await self._waiting.get()) is None:
            return []
        self._hand.append(settlement)
        await self._until_enough(_LONELY_SECONDS)
        if self._waiting.qsize() > _LONELY_GROUP:
            await self._until_enough(_GROUP_SECONDS)
        self._enough.clear()
        while len(self._hand) < _LARGEST_GROUP and not self._waiting.empty():
            if (settlement := self._waiting.get_nowait()) is None:
                self._waiting.put_nowait(None)  # for the next call, which finds nothing else
                break
            self._hand.append(settlement)
        return self._hand

    async def _until_enough(self, seconds: float) -> None:
        if self._waiting.qsize() < _LARGEST_GROUP:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._enough.wait()
