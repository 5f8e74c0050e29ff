"""The delivery log for an event loop: its calls are awaited, and nobody waits with them."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Self, TypeVar

from sqlalchemy.util import greenlet_spawn

from zbl_provider.exceptions import DeliveryLogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable

    from zbl_provider.log.store import DeliveryLog

_Result = TypeVar("_Result")


class AwaitedLog:
    """
    Makes a log's calls for one event loop. Enter it there, as an async context.

    A call is written for a thread, which may wait. With PostgreSQL it is made in the event loop all
    the same, and what it waits for is awaited, by SQLAlchemy's greenlets: threads that take turns
    with Python's lock cost each lead a fifth of its time. With an SQLite file it is made in a
    thread, and so is one that has failed since the database is away: it waits for it there.

    :param log: the delivery log
    """

    def __init__(self, log: DeliveryLog) -> None:
        self._log = log
        self._here: DeliveryLog | None = None
        self._stack = contextlib.AsyncExitStack()
        self._leaving = False

    async def __aenter__(self) -> Self:
        self._here = await self._stack.enter_async_context(self._log.in_event_loop())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    async def call(
        self,
        make: Callable[[DeliveryLog], _Result],
        keep: Callable[[_Result], None] = lambda _: None,
        asked: Callable[[], None] = lambda: None,
    ) -> _Result:
        """
        Make one call of the log to its end, and return what it returns.

        :param make: makes it, with the log that it is given; once more where the database failed
        :param keep: gets what it returns if the caller is cancelled meanwhile: the call goes on,
            and what it still claims would belong to nobody until the lease is over
        :param asked: called as soon as what the call asks first is on its way to a server
        :raises DeliveryLogError: as the call does
        """
        calling = asyncio.ensure_future(self._made(make, asked))
        try:
            return await asyncio.shield(calling)
        except asyncio.CancelledError:
            self._leaving = True
            with contextlib.suppress(Exception):  # what has ended this task is the reason to tell
                keep(await calling)
            raise

    async def _made(
        self, make: Callable[[DeliveryLog], _Result], asked: Callable[[], None]
    ) -> _Result:
        if self._here:
            asyncio.get_running_loop().call_soon(asked)  # when the call waits for the first time
            try:
                return await greenlet_spawn(make, self._here)
            except DeliveryLogUnavailable:
                if self._leaving:
                    raise
        return await asyncio.to_thread(make, self._log)
