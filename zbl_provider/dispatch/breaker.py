"""
Whether a task may send to an integration.

It opens for a person's hold, and after ten leads in a row that met one configuration error (8.6):
then nothing is sent. It opens halfway while a destination is down (8.7): leads that were tried go
on, and no other is tried.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from zbl_provider.delivery.outcome import Verdict, describe
from zbl_provider.dispatch.loop import in_thread
from zbl_provider.dispatch.outage import IN_A_ROW, News, OutageState
from zbl_provider.exceptions import IntegrationPaused

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.outcome import Outcome
    from zbl_provider.log.model import Claimed, Integration
    from zbl_provider.log.store import DeliveryLog

__all__ = ["CONFIGURATION_ERRORS", "IN_A_ROW", "Breaker", "Change", "ChangeKind"]

logger = logging.getLogger(__name__)

# In a task that stays; where leads that were tried are left, these go on instead.
_PROBE_EVERY = timedelta(minutes=5)

CONFIGURATION_ERRORS = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.GONE,
    }
)


class ChangeKind(StrEnum):
    """What the answers of an integration mean for all tasks that send to it."""

    PAUSED = "paused"
    DOWN = "down"
    BACK = "back"


@dataclass(frozen=True, slots=True)
class Change:
    """
    What the answers of an integration have changed (Contract 8.7).

    :param kind: it is paused, down, or back
    :param integration: its connection id
    :param since: since when it is so, aware
    :param answer: the answer that decided, in words
    :param status: the status that pauses it; None for the other kinds
    """

    kind: ChangeKind
    integration: str
    since: datetime
    answer: str
    status: int | None = None


class Breaker:
    """
    Lets leads through, or keeps them back, as people and the destination's answers decide.

    The breaker of a paused integration is half-open: it lets one lead through, the probe, closes
    when that is delivered, and opens otherwise. What it decides is written to the log by `record`,
    so that every task finds it.

    Its state has one owner, the thread of the event loop. The log is read and written in other
    threads; they return what they found, and only the owner draws conclusions from that.

    :param log: the delivery log
    :param destination: the integration
    :param clock: gives the present time
    :param outages: mind that the destination is down (`[zbl] outage_breaker`)
    :param may_probe: of one that is down one lead may be tried, if none is left that was tried
    """

    def __init__(
        self,
        log: DeliveryLog,
        destination: Destination,
        clock: Callable[[], datetime],
        *,
        outages: bool = True,
        may_probe: bool = True,
    ) -> None:
        self._log = log
        self._destination = destination
        self._clock = clock
        self._integration = self._read()
        if self._integration.down and not outages:
            log.lift_outage(destination.integration)
            self._integration = self._read()
        self._refusals = 0
        self._refused: int | None = None  # with this status
        self._answer: str | None = None
        self._unrecorded: deque[Change] = deque()
        self._untold: deque[Change] = deque()
        self._version = 0  # counts what this task decided and wrote;
        self._seen_version = 0  # as it was when the log was last read
        self._half_open = self._integration.paused
        self.open = self.held is not None
        self.probe_due_at: datetime | None = None
        self.outage = OutageState(outages)
        self.outage.sync(self._integration)
        self.outage.probing = self.down and may_probe
        self._probed_at = clock()
        self.outage.go_on(self._integration)

    @property
    def held(self) -> str | None:
        """Who keeps the leads back, and what lets them go; None when nobody does."""
        if not self._destination.active:
            return "Its connection is not active: set Active there"
        if self._integration.held:
            name = self._destination.integration
            return (
                f"{self._integration.held_by} has held it since "
                f"{self._integration.held_at:%Y-%m-%d %H:%M} UTC: "
                f"resume it on the page Lead deliveries, or with "
                f"`airflow zbl integrations resume {name}`"
            )
        return None

    @property
    def down(self) -> bool:
        """Whether no lead is tried for the first time (Contract 8.7)."""
        return self.outage.down

    @property
    def half_open(self) -> bool:
        """Whether one lead may be let through, to see whether it is delivered."""
        return self._half_open or self.outage.probing

    @property
    def may_close(self) -> bool:
        """Whether what has opened it is over: a task that stays begins anew then (4.12)."""
        if not self.open or self.held or self._seen_version != self._version:
            return False
        if not self._integration.paused:
            return True
        return self.probe_due_at is not None and self._clock() >= self.probe_due_at

    @property
    def turn_at(self) -> datetime | None:
        """When one that is paused may be tried again, after a probe of another run (8.6)."""
        is_paused = self._integration.paused and not self.open
        return self._integration.probe_at if is_paused else None

    def probe_again(self) -> None:
        """Of one that is down let a lead be tried every few minutes, as each next run would."""
        if self.down and self._clock() - self._probed_at >= _PROBE_EVERY:
            self._probed_at = self._clock()
            self.outage.probing = True

    def admits(self, claimed: Claimed) -> bool:
        """Tell whether a lead that was claimed may still be sent."""
        return claimed.attempt > 1 or not self.down or self.half_open

    def paused(self, waiting: int) -> IntegrationPaused | None:
        """
        Return why nothing more is sent, as the error that the task ends with.

        :param waiting: how many leads of the task are not settled
        """
        status = self._integration.paused_status
        answer = self._answer or (describe(status, Verdict.ERROR) if status else None)
        if self.held or answer is None or not (self._answer or waiting):
            return None
        return IntegrationPaused(self._destination.integration, answer, waiting)

    def attempted(self, outcome: Outcome, due_at: datetime | None, attempt: int = 1) -> None:
        """
        Draw the conclusions from one attempt; they come in the order in which attempts end.

        :param outcome: how it ended
        :param due_at: when it is tried again, if it is
        :param attempt: which attempt of its lead it was, from 1
        """
        news = self.outage.attempted(outcome, attempt, self._clock())
        is_delivered = outcome.verdict is Verdict.DELIVERED
        if news is News.DOWN:
            self._decide(ChangeKind.DOWN, outcome)
        # A delivery ends a pause, or is the first since a person ended one (8.7).
        elif news is News.BACK or (
            is_delivered and (self._integration.resumed or (self._half_open and not self.open))
        ):
            self._decide(ChangeKind.BACK, outcome)
            self._integration = replace(self._integration, resumed=False)
        if self.open:
            return
        if is_delivered:
            self._refusals, self._half_open = 0, False
        elif self._half_open:
            self._answer, self.probe_due_at, self.open = outcome.detail, due_at, True
        elif outcome.verdict is Verdict.ERROR:
            self._refuse(outcome)

    def _refuse(self, outcome: Outcome) -> None:
        if outcome.status not in CONFIGURATION_ERRORS:
            self._refusals = 0
            return
        self._refusals = self._refusals + 1 if outcome.status == self._refused else 1
        self._refused = outcome.status
        if self._refusals == IN_A_ROW:
            self._answer, self.open = outcome.detail, True
            self._decide(ChangeKind.PAUSED, outcome)

    def _decide(self, kind: ChangeKind, outcome: Outcome) -> None:
        since = self.outage.since if kind is ChangeKind.DOWN else None
        change = Change(
            kind,
            self._destination.integration,
            since or self._clock(),
            outcome.detail,
            outcome.status if kind is ChangeKind.PAUSED else None,
        )
        self._unrecorded.append(change)
        self._version += 1

    async def record(self) -> None:
        """Write to the log what the outcomes have decided, if anything; one call at a time."""
        while self._unrecorded:
            change = self._unrecorded[0]
            keep = partial(self._keep, change)
            # People are told of what the log knows, whatever comes between.
            keep(await in_thread(partial(self._write, change), keep))
            integration = await asyncio.to_thread(self._read)
            self._version += 1
            self._unrecorded.popleft()
            if not self._unrecorded:
                self.outage.sync(integration)  # it is not down if another task delivers meanwhile

    def _keep(self, change: Change, is_first: bool) -> None:
        if is_first:
            self._untold.append(change)

    def _write(self, change: Change) -> bool:
        """Return whether this task is the first that has found it out."""
        name, log = change.integration, self._log
        if change.kind is ChangeKind.PAUSED:
            is_first = log.pause(name, change.status or 0, self._clock())
            logger.warning("%d leads in a row: %s. %s is paused.", IN_A_ROW, change.answer, name)
        elif change.kind is ChangeKind.DOWN:
            is_first = log.begin_outage(name, change.since, change.answer, self._clock())
            if is_first:
                logger.warning("%d leads in a row: %s. %s is down.", IN_A_ROW, change.answer, name)
        else:
            is_first = log.back(name)
            logger.info("%s has taken a lead: it is back.", name)
        return is_first

    def changes(self) -> list[Change]:
        """Take what this task was the first to find out, to be told to people once."""
        changes, self._untold = list(self._untold), deque()
        return changes

    def remember(self) -> None:
        """
        Add to the row of failures that all tasks count together, or end it.

        Tasks that have a lead each, and run side by side, find out only so that it is long enough.
        """
        row, name = self.outage, self._destination.integration
        if self.down:
            return
        if row.ended:
            if row.failures != self._integration.failures:
                self._log.note_failures(name, row.failures, row.since)
        elif row.failures > row.counted:
            more = row.failures - row.counted
            known = self._log.note_failures(name, more, row.since, goes_on=True)
            if known.failures >= IN_A_ROW and not known.down:
                since = known.failing_since or self._clock()
                change = Change(ChangeKind.DOWN, name, since, row.reason)
                self._keep(change, self._write(change))
                self.look()

    async def watch(self) -> None:
        """See once whether somebody else has held, paused or resumed the integration."""
        version = self._version
        integration = await asyncio.to_thread(self._read)
        self._apply(integration, is_current=version == self._version)

    def look(self) -> None:
        """See the same where no event loop runs."""
        self._apply(self._read(), is_current=True)

    def _read(self) -> Integration:
        return self._log.integration(self._destination.integration)

    def _apply(self, integration: Integration, *, is_current: bool) -> None:
        self._seen_version = self._version if is_current and not self._unrecorded else -1
        if not is_current or self._unrecorded:
            # It may have been read before this task's own decision was written: that stands, and
            # the next look tells of later ones. A hold is another person's, and always counts.
            integration = replace(
                self._integration, held_at=integration.held_at, held_by=integration.held_by
            )
        else:
            self.outage.sync(integration)
            if not integration.paused:
                self._half_open = False
            elif not self._half_open:
                self.open = True
        self._integration = integration
        self.open = self.open or self.held is not None
