"""Whether a task may send to an integration: a person may hold it, its answers may pause it."""

from __future__ import annotations

import logging
import threading
from http import HTTPStatus
from typing import TYPE_CHECKING

from zbl_provider.delivery.outcome import Verdict, describe
from zbl_provider.exceptions import IntegrationPaused

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.outcome import Outcome
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


class Gate:
    """
    Closes for a hold, and after ten leads in a row that met one configuration error (8.6).

    The gate of a paused integration lets one lead through, the probe: it opens when that is
    delivered, and closes otherwise. What it decides is written to the log by `record`, so that
    every task finds it.

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
        self._state = log.integration(destination.integration)
        self._refusals = 0
        self._refused: int | None = None  # with this status
        self._answer: str | None = None
        self.unrecorded = False
        self._turn = threading.Lock()
        self.probing = self._state.paused
        self.closed = self.held is not None
        self.probe_due_at: datetime | None = None

    @property
    def held(self) -> str | None:
        """Who keeps the leads back, and what lets them go; None when nobody does."""
        if not self._destination.active:
            return "Its connection is not active: set Active there"
        if self._state.held:
            name = self._destination.integration
            return (
                f"{self._state.held_by} holds it since {self._state.held_at:%Y-%m-%d %H:%M} UTC: "
                f"resume it on the page Lead deliveries, or with "
                f"`airflow zbl integrations resume {name}`"
            )
        return None

    def paused(self, waiting: int) -> IntegrationPaused | None:
        """
        Return why nothing more is sent, as the error that the task ends with.

        :param waiting: how many leads of the task are not settled
        """
        status = self._state.paused_status
        answer = self._answer or (describe(status, Verdict.ERROR) if status else None)
        if self.held or answer is None or not (self._answer or waiting):
            return None
        return IntegrationPaused(self._destination.integration, answer, waiting)

    def heed(self, outcome: Outcome, due_at: datetime | None) -> None:
        """
        Draw the conclusions from one attempt; they come in the order in which attempts end.

        :param outcome: how it ended
        :param due_at: when it is tried again, if it is
        """
        if self.closed:
            return
        if outcome.verdict is Verdict.DELIVERED:
            self._refusals = 0
            # In this order: whoever looks meanwhile must not take the old pause for a new one.
            self.unrecorded = self.unrecorded or self.probing
            self.probing = False
        elif self.probing:
            self._answer, self.probe_due_at, self.closed = outcome.detail, due_at, True
        elif outcome.verdict is Verdict.ERROR:
            self._refuse(outcome)

    def _refuse(self, outcome: Outcome) -> None:
        if outcome.status not in CONFIGURATION_ERRORS:
            self._refusals = 0
            return
        self._refusals = self._refusals + 1 if outcome.status == self._refused else 1
        self._refused = outcome.status
        if self._refusals == IN_A_ROW:
            self._answer, self.unrecorded, self.closed = outcome.detail, True, True

    def record(self) -> None:
        """Write to the log what the outcomes have decided, if anything; it may be called often."""
        if self.unrecorded:
            with self._turn:
                self._record()
                self.unrecorded = False

    def _record(self) -> None:
        name = self._destination.integration
        if self.closed and self._refused:
            self._log.pause(name, self._refused, self._clock())
            logger.warning("%d leads in a row: %s. %s is paused.", IN_A_ROW, self._answer, name)
        else:
            self._log.unpause(name)
            logger.info("%s has taken a lead: it is no longer paused.", name)

    def look(self) -> None:
        """See whether the integration was held, paused or resumed meanwhile by somebody else."""
        with self._turn:
            self._state = self._log.integration(self._destination.integration)
            if not self._state.paused:
                self.probing = False
            paused = self._state.paused and not self.probing and not self.unrecorded
            self.closed = self.closed or paused or self.held is not None
