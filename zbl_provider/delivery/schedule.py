"""When a lead that was not delivered is tried again, or that it is not."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, ClassVar, Final, Self

from zbl_provider.delivery.outcome import Outcome, Verdict
from zbl_provider.exceptions import ScheduleError

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_STEPS: Final = 20
MAX_WAIT: Final = timedelta(days=7)
# A peer writes Retry-After: what is longer than any date or sensible number is not even parsed.
_MAX_RETRY_AFTER_CHARS = 64
# Some servers write a fraction, and a proxy joins two headers of one name by a comma.
_SECONDS = re.compile(r"\d+(\.\d+)?(?=\s*(?:,|$))", re.ASCII)


@dataclass(frozen=True, slots=True)
class Schedule:
    """
    The waits after each failed attempt (Contract 3.1).

    :param waits: seconds; empty for a single attempt
    """

    waits: tuple[float, ...]

    DEFAULT: ClassVar[Schedule]
    ONCE: ClassVar[Schedule]

    @classmethod
    def parse(cls, waits: Iterable[float | timedelta]) -> Self:
        """
        Read the operators' ``schedule`` parameter.

        :param waits: seconds or timedeltas, at most 20 of them, none over seven days
        :raises ScheduleError: if a wait is no number, negative, or over the limits
        """
        name = "schedule"
        # A set has no order, and a mapping's keys are no waits.
        unordered = isinstance(waits, str | bytes | AbstractSet | Mapping)
        if unordered or not hasattr(waits, "__iter__"):
            raise ScheduleError(
                name, "is not a list of waits", "Give seconds or timedeltas, as in (60, 300)"
            )
        steps: list[float] = []
        for place, wait in enumerate(waits, start=1):
            seconds = wait.total_seconds() if isinstance(wait, timedelta) else wait
            if isinstance(seconds, bool) or not isinstance(seconds, int | float):
                raise ScheduleError(
                    name, f"wait {place} is not a number", "Give seconds or a timedelta"
                )
            if not math.isfinite(seconds) or seconds < 0:
                raise ScheduleError(
                    name, f"wait {place} is negative or infinite", "Give 0 or more seconds"
                )
            if seconds > MAX_WAIT.total_seconds():
                raise ScheduleError(name, f"wait {place} is over seven days", "Give a shorter one")
            steps.append(float(seconds))
        if len(steps) > MAX_STEPS:
            raise ScheduleError(name, f"has {len(steps)} waits", f"Give at most {MAX_STEPS}")
        return cls(tuple(steps))

    @property
    def attempts(self) -> int:
        """How often a lead is tried in all, the first time included."""
        return len(self.waits) + 1

    def next_attempt(self, attempt: int, outcome: Outcome, now: datetime) -> datetime | None:
        """
        Say when to try again after a failed attempt (Contract 3.1 and 3.3).

        :param attempt: the number of the attempt that has just ended, from 1
        :param outcome: how it ended
        :param now: when it ended, an aware datetime
        :returns: when to try again, or None to stop
        """
        if outcome.verdict is not Verdict.RETRY or attempt > len(self.waits):
            return None
        wait = self.waits[attempt - 1]
        asked = _retry_after_seconds(outcome.retry_after, now)
        return now + timedelta(seconds=max(wait, min(asked, max(self.waits))))


Schedule.DEFAULT = Schedule((60.0, 300.0, 900.0, 1800.0))
Schedule.ONCE = Schedule(())


def _retry_after_seconds(value: str | None, now: datetime) -> float:
    """Read Retry-After (RFC 9110, 10.2.3) as seconds from now; what cannot be read asks for 0."""
    text = (value or "").strip()
    if not text or len(text) > _MAX_RETRY_AFTER_CHARS:
        return 0.0
    if seconds := _SECONDS.match(text):
        return float(seconds[0])
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError, OverflowError):
        return 0.0
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - now).total_seconds()
