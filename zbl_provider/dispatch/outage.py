"""How a task finds out that a destination is down, and what it sends meanwhile (Contract 8.7)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus
from typing import TYPE_CHECKING

from zbl_provider.delivery.outcome import Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from zbl_provider.delivery.outcome import Outcome
    from zbl_provider.log.model import Integration

IN_A_ROW = 10


class News(Enum):
    """What an attempt has changed."""

    DOWN = auto()
    BACK = auto()


@dataclass(slots=True)
class OutageState:
    """
    The row of failures, and whether it was long enough; lives in the event loop's thread.

    :param enabled: `[zbl] outage_breaker`
    :param down: no first attempt is made until a lead is delivered
    :param probing: one may be made all the same, if no lead is left that was tried
    :param failures: leads in a row without an answer or with 5xx
    :param counted: how many of them the log counts already
    :param ended: the row that the log counts has ended here: what failed since is another one
    :param since: when the first of them failed, aware
    :param reason: the last answer, in words
    """

    enabled: bool
    down: bool = False
    probing: bool = False
    failures: int = 0
    counted: int = 0
    ended: bool = False
    since: datetime | None = None
    reason: str = ""

    def attempted(self, outcome: Outcome, attempt: int, now: datetime) -> News | None:
        """
        Draw the conclusions from one attempt.

        :param outcome: how it ended
        :param attempt: which attempt of its lead it was, from 1
        :param now: when it ended
        """
        if not self.enabled:
            return None
        if outcome.verdict is Verdict.DELIVERED:
            was_down = self.down
            self.down, self.probing = False, False
            self._end_row()
            return News.BACK if was_down else None
        self.probing = False
        answered = outcome.status is not None and outcome.status < HTTPStatus.INTERNAL_SERVER_ERROR
        if answered or outcome.verdict is not Verdict.RETRY:
            # It answers, if not as it should; of what was refused before it was sent nothing is
            # known.
            if outcome.status is not None:
                self._end_row()
            return None
        return self._failed(outcome, attempt, now)

    def _failed(self, outcome: Outcome, attempt: int, now: datetime) -> News | None:
        self.reason = outcome.detail
        if self.down or attempt > 1:
            return None  # leads are counted, not their attempts
        self.failures += 1
        self.since = self.since or now
        if self.failures < IN_A_ROW:
            return None
        self.down = True
        return News.DOWN

    def _end_row(self) -> None:
        self.failures, self.since, self.ended = 0, None, True

    def go_on(self, integration: Integration) -> None:
        """Count on where other tasks have come to."""
        self.failures = self.counted = integration.failures
        self.since, self.ended = integration.failing_since, False

    def sync(self, integration: Integration) -> None:
        """Take over what the log says, which other tasks and people have written."""
        if not self.enabled or integration.down == self.down:
            return
        self.down, self.probing = integration.down, False
        self.go_on(integration)
        self.reason = integration.down_reason or self.reason
