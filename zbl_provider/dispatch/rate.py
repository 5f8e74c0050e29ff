"""How fast leads may leave: `max_rate` of the integration (Contract 1.2)."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

_Item = TypeVar("_Item")

_LEASE_SECONDS = 60.0
_NAP_SECONDS = 0.25
_CLAIM_SECONDS = 5  # how much of what the rate allows is claimed at once


class Rate:
    """
    Gives each request the next free slot.

    :param per_second: how many requests may leave a second; None for as many as can
    """

    def __init__(self, per_second: float | None) -> None:
        self._per_second = per_second
        self._turn = asyncio.Lock()
        self._next_slot = 0.0

    @property
    def limited(self) -> bool:
        """Whether there is a rate to hold."""
        return self._per_second is not None

    @property
    def lease(self) -> timedelta:
        """How long a claim lasts; no slot is so far away that a lease runs out before it."""
        return timedelta(seconds=_LEASE_SECONDS + 2 / (self._per_second or 1))

    def largest_claim(self, wanted: int) -> int:
        """
        Return how much to claim at once: no more than can be sent while the lease lasts.

        :param wanted: how many leads the senders could use
        """
        if self._per_second is None:
            return wanted
        return max(1, min(wanted, int(_CLAIM_SECONDS * self._per_second)))

    async def paced(
        self,
        take: Callable[[], Awaitable[_Item | None]],
        put_back: Callable[[_Item], None],
        is_over: Callable[[], bool],
    ) -> _Item | None:
        """
        Take something, and wait for the slot in which it may leave.

        :param take: gives the next one; None when there are no more
        :param put_back: gets it, if the wait is cancelled
        :param is_over: tells whether nothing more is to leave, so that no slot is waited for
        """
        if self._per_second is None:
            return await take()
        # One sender at a time: if each waited for a slot of its own with a lead in its hand, the
        # leases of the last ones would run out before their slots came, over and over.
        async with self._turn:
            if (taken := await take()) is not None and not is_over():
                slot = max(time.monotonic(), self._next_slot)
                self._next_slot = slot + 1 / self._per_second
                try:
                    # In short naps: Airflow kills a task that does not end soon when it is told to.
                    while (left := slot - time.monotonic()) > 0 and not is_over():  # noqa: ASYNC110
                        await asyncio.sleep(min(left, _NAP_SECONDS))
                except asyncio.CancelledError:
                    put_back(taken)
                    raise
            return taken
