"""When tasks that wait for a destination to be back go on (Contract 8.7). Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zbl_provider.log.model import ORPHANED

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from zbl_provider.log.model import Outage


class OutageLook:
    """
    One look at destinations, on behalf of all tasks of a process that wait for them.

    :param outages: those that are down, by integration
    :param now: when it was looked, aware
    """

    def __init__(self, outages: Mapping[str, Outage], now: datetime) -> None:
        self._outages = outages
        self._now = now
        self._seen_to: set[str] = set()

    def ends_wait(self, integration: str) -> bool:
        """
        Tell a task whether it goes on: all do when it is back, or no tried lead is left.

        A tried lead whose own task does not come would leave all of them waiting for ever. One of
        them sees to it; the others may be ten thousand (Contract 4.11).
        """
        outage = self._outages.get(integration)
        if outage is None or outage.next_at is None:
            return True
        if outage.next_at > self._now - ORPHANED or integration in self._seen_to:
            return False
        self._seen_to.add(integration)
        return True
