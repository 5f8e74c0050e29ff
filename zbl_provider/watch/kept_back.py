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

    What is in none of the three is held, or was not looked at: its tasks wait.

    :param free: those that are neither held nor down
    :param outages: those that are down, and not held, by integration
    :param unreadable: those whose connection could not be read, and that no person holds
    :param now: when it was looked, aware
    """

    def __init__(
        self,
        free: Collection[str],
        outages: Mapping[str, Outage],
        unreadable: Collection[str],
        now: datetime,
    ) -> None:
        self._free = free
        self._outages = outages
        self._unreadable = unreadable
        self._now = now
        self._seen_to: set[str] = set()

    def ends_wait(self, integration: str, *, is_tried: bool = False) -> bool:
        """
        Tell a task whether it goes on: all do when it is free, or down with no tried lead left.

        Of one that is down, who has a tried lead goes on by its schedule: that may end it. A tried
        lead whose own task does not come would leave all others waiting for ever. One of them sees
        to it; they may be ten thousand (Contract 4.11). Likewise one finds out whether a connection
        is gone, or the API server was away for a moment.

        :param integration: which the task waits for
        :param is_tried: an attempt was made at its lead
        """
        outage = self._outages.get(integration)
        if integration in self._free or (outage and (is_tried or outage.next_at is None)):
            return True
        is_late = outage and outage.next_at and outage.next_at <= self._now - ORPHANED
        if integration in self._seen_to or not (is_late or integration in self._unreadable):
            return False
        self._seen_to.add(integration)
        return True
