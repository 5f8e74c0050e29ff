"""The addresses of one server: looked up once for all who wait, and again when they may be old."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final

from zbl_provider.delivery.http.limits import PAUSE_SECONDS, WAIT_SECONDS, ShortageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zbl_provider.delivery.http.limits import Shortages
    from zbl_provider.delivery.http.route import Route

_LOOK_UP_SECONDS: Final = 60.0


class Addresses:
    """
    Where one server is.

    :param route: looks the name up, and judges what it finds
    :param shortages: told when this machine itself keeps a look-up from being made
    :ivar known: the addresses that may be connected to, as the last look-up gave them
    :ivar preferred: the one that answered last; None: the name server's order counts
    """

    __slots__ = ("_look_up_at", "_route", "_shortages", "_task", "known", "preferred")

    def __init__(self, route: Route, shortages: Shortages) -> None:
        self._route = route
        self._shortages = shortages
        self._look_up_at = 0.0
        self._task: asyncio.Task[None] | None = None
        self.known: Sequence[str] = ()
        self.preferred: str | None = None

    @property
    def fresh(self) -> bool:
        """Whether they need not be looked up again yet."""
        return time.monotonic() < self._look_up_at

    def doubt(self) -> None:
        """Take note that the name, or what is behind an address, may have moved."""
        self.preferred = None
        self._look_up_at = 0.0

    def in_order(self) -> Sequence[str]:
        """Give the addresses, the one that answered last before all others."""
        if self.preferred is None or self.preferred not in self.known:
            return self.known
        return [self.preferred, *(other for other in self.known if other != self.preferred)]

    async def look_up(self) -> None:
        """
        Share one look-up among all that wait for it; it outlives those that cannot.

        :raises BlockedAddress: if the name leads where the guard lets nobody go
        :raises ShortageError: if this machine could not ask for three seconds
        :raises OSError: if the name has no address, or the look-up failed
        """
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._ask())
            self._task.add_done_callback(lambda task: task.cancelled() or task.exception())
        await asyncio.shield(self._task)

    async def _ask(self) -> None:
        until = time.monotonic() + WAIT_SECONDS
        while True:
            try:
                self.known = await self._route.addresses()
                break
            except OSError as problem:
                if (limit := self._shortages.notice(problem)) is None:
                    raise
                if time.monotonic() > until:
                    raise ShortageError(limit) from problem
            await asyncio.sleep(PAUSE_SECONDS)
        self._look_up_at = time.monotonic() + _LOOK_UP_SECONDS

    def close(self) -> None:
        """End a look-up that is under way."""
        if self._task:
            self._task.cancel()
