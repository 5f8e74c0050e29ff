"""Enrols what was found while others send: one batch is written as the next is read."""

from __future__ import annotations

import asyncio
import contextlib
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from zbl_provider.dispatch.follow import SlowQuery
from zbl_provider.exceptions import DispatchStopped, LeadsDatabaseError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from zbl_provider.dispatch.feed import Feed
    from zbl_provider.dispatch.follow import Follow
    from zbl_provider.dispatch.supply import Supply
    from zbl_provider.log.awaited import AwaitedLog
    from zbl_provider.log.model import Candidate

_Item = TypeVar("_Item")

# So long the event loop waits for a read. Most take no longer, and SQLite lets go of Python's lock
# at each row: the two would take turns.
_BRIEF_SECONDS = 0.003
_NOTICE_SECONDS = 0.1  # how long the end of the task may go unnoticed between two looks


class Feeder:
    """
    Enrols while the senders send.

    :param feed: reads what was found and writes it to the log
    :param log: makes the calls
    :param supply: takes what is claimed in the same write
    :param is_stopping: tells whether Airflow ends the task
    :param follow: of a task that stays: it looks again until its time is over (Contract 4.12)
    :param is_over: tells whether it shall look no more before that
    """

    def __init__(
        self,
        feed: Feed,
        log: AwaitedLog,
        supply: Supply,
        is_stopping: Callable[[], bool],
        follow: Follow | None = None,
        is_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._feed = feed
        self._log = log
        self._supply = supply
        self._is_stopping = is_stopping
        self._follow = follow
        self._is_over = is_over
        # One thread reads the source: some databases' connections demand it.
        self._source = ThreadPoolExecutor(1, "zbl-source")

    async def run(self) -> Exception | None:
        """
        Enrol until there is no more.

        :return: what the source or the log raised, to be raised again when the rest is sent
        """
        try:
            if self._follow:
                await self._look_again_and_again(self._follow)
            else:
                await self._take_in()
        except Exception as problem:  # noqa: BLE001  raised again when the rest is sent
            return problem
        finally:
            self._supply.end_of_feed()
            self._source.submit(self._feed.close)
        return None

    async def _take_in(self) -> None:
        """Read and write until there is no more: while one batch is written, the next is read."""
        batches = self._batches()
        ahead = asyncio.ensure_future(anext(batches, None))
        try:
            while batch := await ahead:
                ahead = asyncio.ensure_future(anext(batches, None))
                lease = await self._supply.spare_lease(len(batch))
                write = partial(self._feed.write, batch, lease)
                claimed = await self._log.call(write, self._supply.take)
                await self._supply.take_or_release(claimed)
        finally:
            ahead.cancel()

    async def _batches(self) -> AsyncIterator[list[Candidate]]:
        more = True
        while more:
            fetched = await self._in_source(self._feed.read)
            more = fetched is not None
            for batch in self._feed.judge(fetched):
                if self._is_stopping():
                    raise DispatchStopped
                if batch:
                    yield batch
                else:
                    await asyncio.sleep(0)

    async def _look_again_and_again(self, follow: Follow) -> None:
        while True:
            follow.begin()
            try:
                await self._in_source(self._feed.look_again)
                await self._take_in()
            except LeadsDatabaseError as problem:
                next_at = follow.failed(problem)
            else:
                next_at = follow.looked()
            while time.monotonic() < next_at:
                if self._is_stopping():
                    raise DispatchStopped
                if follow.over or self._is_over():
                    break
                await asyncio.sleep(min(_NOTICE_SECONDS, max(0.0, next_at - time.monotonic())))
            if follow.over or self._is_over():
                break
        if follow.over and follow.problem:
            raise follow.problem

    def shut_down(self, *, wait: bool) -> None:
        """
        Let go of the source.

        :param wait: for the thread that reads it; a query may hang, and what ends the task does
            not wait for that
        """
        self._source.shutdown(wait=wait)

    async def _in_source(self, call: Callable[[], _Item]) -> _Item:
        reading = self._source.submit(call)
        with contextlib.suppress(TimeoutError):
            return reading.result(_BRIEF_SECONDS)
        calling = asyncio.wrap_future(reading)
        if self._follow:
            # Over a network that has gone dead it may never return; the task's time ends all the
            # same, and the next one connects anew.
            query = SlowQuery(self._follow)
            while not (await asyncio.wait([calling], timeout=_NOTICE_SECONDS))[0]:
                if self._is_stopping():
                    raise DispatchStopped
                query.check()
        return await calling
