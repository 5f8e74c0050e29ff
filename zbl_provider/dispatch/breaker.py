"""Whether a task may send to an integration: a person may hold it, its answers may pause it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from http import HTTPStatus
from typing import TYPE_CHECKING

from zbl_provider.delivery.outcome import Verdict, describe
from zbl_provider.exceptions import IntegrationPaused

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.outcome import Outcome
    from zbl_provider.log.model import Integration
    from zbl_provider.log.store import DeliveryLog

logger = logging.getLogger(__name__)

CONFIGURATION_ERRORS = frozenset(
    {
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.FORBIDDEN,
        HTTPStatus.NOT_FOUND,
        HTTPStatus.GONE,
    }
)
IN_A_ROW = 10


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What the answers of an integration mean for all tasks that send to it.

    :param paused_status: the status that pauses it; None when it is paused no longer
    :param answer: the answer that decided, in words
    """

    paused_status: int | None
    answer: str


class Breaker:
    """
    Opens for a hold, and after ten leads in a row that met one configuration error (8.6).

    The breaker of a paused integration is half-open: it lets one lead through, the probe, closes
    when that is delivered, and opens otherwise. What it decides is written to the log by `record`,
    so that every task finds it.

    Its state has one owner, the thread of the event loop. The log is read and written in other
    threads; they return what they found, and only the owner draws conclusions from that.

    :param log: the delivery log
    :param destination: the integration
    :param clock: gives the present time
    """

    def __init__(
        self, log: DeliveryLog, destination: Destination, clock: Callable[[], datetime]
    ) -> None:
        self._log = log
        self._destination = destination
        self._clock = clock
        self._integration = self._read()
        self._refusals = 0
        self._refused: int | None = None  # with this status
        self._answer: str | None = None
        self._unrecorded: Decision | None = None
        self._version = 0  # counts what this task decided and wrote
        self.half_open = self._integration.paused
        self.open = self.held is not None
        self.probe_due_at: datetime | None = None

    @property
    def held(self) -> str | None:
        """Who keeps the leads back, and what lets them go; None when nobody does."""
        if not self._destination.active:
            return "Its connection is not active: set Active there"
        if self._integration.held:
            name = self._destination.integration
            return (
                f"{self._integration.held_by} holds it since "
                f"{self._integration.held_at:%Y-%m-%d %H:%M} UTC: "
                f"resume it on the page Lead deliveries, or with "
                f"`airflow zbl integrations resume {name}`"
            )
        return None

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

    def attempted(self, outcome: Outcome, due_at: datetime | None) -> None:
        """
        Draw the conclusions from one attempt; they come in the order in which attempts end.

        :param outcome: how it ended
        :param due_at: when it is tried again, if it is
        """
        if self.open:
            return
        if outcome.verdict is Verdict.DELIVERED:
            self._refusals = 0
            if self.half_open:
                self.half_open = False
                self._decide(Decision(None, outcome.detail))
        elif self.half_open:
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
            self._decide(Decision(outcome.status, outcome.detail))

    def _decide(self, decision: Decision) -> None:
        self._unrecorded = decision
        self._version += 1

    async def record(self) -> None:
        """Write to the log what the outcomes have decided, if anything; one call at a time."""
        while decision := self._unrecorded:
            await asyncio.to_thread(self._write, decision)
            self._version += 1
            if self._unrecorded is decision:
                self._unrecorded = None

    def _write(self, decision: Decision) -> None:
        name = self._destination.integration
        if decision.paused_status:
            self._log.pause(name, decision.paused_status, self._clock())
            logger.warning("%d leads in a row: %s. %s is paused.", IN_A_ROW, decision.answer, name)
        else:
            self._log.unpause(name)
            logger.info("%s has taken a lead: it is no longer paused.", name)

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
        if not is_current or self._unrecorded:
            # It may have been read before this task's own decision was written: that stands, and
            # the next look tells of later ones. A hold is another person's, and always counts.
            integration = replace(
                integration,
                paused_at=self._integration.paused_at,
                paused_status=self._integration.paused_status,
            )
        elif not integration.paused:
            self.half_open = False
        elif not self.half_open:
            self.open = True
        self._integration = integration
        self.open = self.open or self.held is not None
