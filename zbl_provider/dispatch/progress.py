"""What a task says of its work: a line for each failed attempt, bounded, and progress meanwhile."""

from __future__ import annotations

import logging
import time
from collections import Counter
from typing import TYPE_CHECKING

from zbl_provider.log.model import Status, status_after

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from zbl_provider.delivery.outcome import Outcome
    from zbl_provider.log.model import Claimed

logger = logging.getLogger(__name__)

PROGRESS_SECONDS = 5.0
_FAILURES_SHOWN = 20


class Progress:
    """
    Counts attempts and logs them so that the task's log stays readable at 100,000 leads.

    :param monotonic: seconds that never go back
    :param every: seconds from one line of progress to the next
    """

    def __init__(
        self,
        monotonic: Callable[[], float] = time.monotonic,
        *,
        every: float = PROGRESS_SECONDS,
    ) -> None:
        self._monotonic = monotonic
        self._every = every
        self._counts: Counter[Status] = Counter()
        self._started = self._shown = monotonic()

    def attempted(self, claimed: Claimed, outcome: Outcome, due_at: datetime | None) -> None:
        """
        Count one attempt; log it when it failed.

        :param claimed: the lead, known by its id alone (Contract 4.3)
        :param outcome: what became of the attempt
        :param due_at: when the next attempt is due; None when there is none
        """
        status = status_after(outcome, due_at)
        self._counts[status] += 1
        if status is Status.DELIVERED or self._failures() > _FAILURES_SHOWN:
            return
        logger.warning(
            "Lead %s: attempt %d failed: %s. %s.",
            claimed.lead_id,
            claimed.attempt,
            outcome.detail.rstrip("."),
            f"Next attempt at {due_at:%H:%M:%S} UTC" if due_at else "No further attempt",
        )

    @property
    def due(self) -> bool:
        """Whether it is some seconds since the work last showed where it stands."""
        return self._monotonic() - self._shown >= self._every

    def show(self, left: int) -> None:
        """
        Log where the work stands.

        :param left: how many of the run's leads are not settled yet
        """
        self._shown = self._monotonic()
        self._log(f"; {left} left")

    def close(self) -> None:
        """Log what was done, and how many failures were not shown one by one."""
        if (hidden := self._failures() - _FAILURES_SHOWN) > 0:
            logger.warning("%d more attempts failed; the delivery log has each.", hidden)
        if self._counts:
            self._log()

    def _failures(self) -> int:
        return self._counts.total() - self._counts[Status.DELIVERED]

    def _log(self, more: str = "") -> None:
        seconds = max(self._monotonic() - self._started, 0.001)
        logger.info(
            "%d sent: %d delivered, %d to be retried, %d in error; %.0f a second%s.",
            self._counts.total(),
            self._counts[Status.DELIVERED],
            self._counts[Status.RETRYING],
            self._counts[Status.ERROR],
            self._counts.total() / seconds,
            more,
        )
