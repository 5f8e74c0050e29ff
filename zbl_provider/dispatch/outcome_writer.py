"""Outcomes go into the log in groups: an outcome waits a few milliseconds at most."""

from __future__ import annotations

import asyncio
import contextlib
import logging
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

_WRITERS = 2  # groups on their way to the log at once
_GROUP_SECONDS = 0.005  # how long an outcome waits for others to be written with


class _Group:
    """Outcomes that are written together, and what their senders wait for."""

    def __init__(self) -> None:
        self.outcomes: list[Settlement] = []
        self.left = asyncio.Event()


class OutcomeWriter:
    """
    Writes down what became of attempts, beside the senders that make them.

    A sender takes no other lead before its last one's outcome has left for the log: a server
    carries out what it was told, whoever dies. So the death of a worker leaves no more leads in
    doubt than may be out at once, however fast the receiver answers.

    :param log: the delivery log
    :param run: the run that makes the attempts
    :param breaker: has its decisions written down, too
    :param at_once: how many leads may be out at once
    :param observe: told of each group that is settled
    """

    def __init__(
        self,
        log: AwaitedLog,
        run: Run,
        breaker: Breaker,
        at_once: int,
        observe: Observer | None = None,
    ) -> None:
        self._log = log
        self._run = run
        self._breaker = breaker
        self._enough = max(1, at_once // 2)
        self._observe = observe
        self._out = 0  # being sent, or with an outcome that waits here
        self._waiting = _Group()
        self._written: list[_Group] = []  # by the writers, and not known to be settled yet
        self._some, self._full = asyncio.Event(), asyncio.Event()
        self._gathering, self._recording = asyncio.Lock(), asyncio.Lock()
        self._closed = False

    def sends(self) -> None:
        """Count a lead that is about to be sent; `put` is to follow, or `has_not_sent`."""
        self._out += 1

    def has_not_sent(self) -> None:
        """Count it no more."""
        self._out -= 1
        self._look()

    async def put(self, settlement: Settlement) -> None:
        """Take an outcome, and return when it has left for the log."""
        group = self._waiting
        group.outcomes.append(settlement)
        self._look()
        await group.left.wait()

    def _look(self) -> None:
        if waiting := len(self._waiting.outcomes):
            self._some.set()
            if waiting >= min(self._enough, self._out):
                self._full.set()  # no more is wanted, or no more is to come

    def close(self) -> None:
        """Take no more: `run` ends when all is settled."""
        self._closed = True
        self._some.set()
        self._full.set()

    async def run(self, settled: Callable[[int], Awaitable[None]]) -> None:
        """
        Settle what comes until `close`.

        :param settled: told, after each group, how many leads are out of hand
        """
        async with asyncio.TaskGroup() as writers:
            for _ in range(_WRITERS):
                writers.create_task(self._write_groups(settled))

    async def _write_groups(self, settled: Callable[[int], Awaitable[None]]) -> None:
        while (group := await self._gather()).outcomes:
            outcomes = group.outcomes
            settle = partial(self._settle, outcomes)
            fenced = await self._log.call(settle, asked=partial(self._leaves, group))
            self._leaves(group)
            self._written.remove(group)
            if self._observe:
                self._observe(outcomes)
            async with self._recording:
                await self._breaker.record()
            if fenced:
                logger.warning("%d outcomes came after their leases had run out.", len(fenced))
            await settled(len(outcomes))

    def _settle(self, group: Sequence[Settlement], log: DeliveryLog) -> list[Settlement]:
        return log.settle(group, self._run)

    def _leaves(self, group: _Group) -> None:
        if not group.left.is_set():
            self._out -= len(group.outcomes)
            group.left.set()

    async def _gather(self) -> _Group:
        """Take the next group; it is empty once this is closed."""
        async with self._gathering:
            await self._some.wait()
            if not self._full.is_set():
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(_GROUP_SECONDS):
                        await self._full.wait()
            group, self._waiting = self._waiting, _Group()
            self._written.append(group)
            if not self._closed:
                self._some.clear()
                self._full.clear()
            return group

    def rest(self) -> list[Settlement]:
        """Give up what is not known to be settled, when `run` was ended before its time."""
        return [outcome for group in (*self._written, self._waiting) for outcome in group.outcomes]
