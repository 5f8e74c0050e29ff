"""When tasks that wait for an integration go on (Contract 1.2, 8.4 and 8.7). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zbl_provider.log.model import ORPHANED

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from datetime import datetime

    from zbl_provider.log.model import Outage


class KeptBackLook:
    """
    One look at integrations, on behalf of all tasks of a process that wait for them.

    What is in neither of the two is held, or was not looked at: its tasks wait.

    :param free: those that are neither held nor down
    :param outages: those that are down, and not held, by integration
    :param now: when it was looked, aware
    """

    def __init__(self, free: Collection[str], outages: Mapping[str, Outage], now: datetime) -> None:
        self._free = free
        self._outages = outages
        self._now = now
        self._seen_to: set[str] = set()

    def ends_wait(self, integration: str) -> bool:
        """
        Tell a task whether it goes on: all do when it is free, or down with no tried lead left.

        A tried lead whose own task does not come would leave all of them waiting for ever. One of
        them sees to it; the others may be ten thousand (Contract 4.11).
        """
        outage = self._outages.get(integration)
        if outage is None:
            return integration in self._free
        if outage.next_at is None:
            return True
        if outage.next_at > self._now - ORPHANED or integration in self._seen_to:
            return False
        self._seen_to.add(integration)
        return True
