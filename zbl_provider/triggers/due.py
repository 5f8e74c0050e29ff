"""Waits until the next attempt is due, and says so once (Contract 3.4)."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger
from airflow.triggers.base import TriggerEvent

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

_LONGEST_SLEEP_SECONDS = 60.0  # should the clock be put right meanwhile


class DueTrigger(DateTimeTrigger):
    """
    Airflow's own trigger for a moment, without its line in the task's log for each last second.

    Tasks that an older version deferred still wait by Airflow's.

    :param moment: when to go on, aware
    """

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what Airflow's database keeps: a moment, and nothing of a lead."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {"moment": self.moment}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield the moment."""
        left = self.moment.timestamp() - time.time()
        while left > 0:
            await asyncio.sleep(min(left, _LONGEST_SLEEP_SECONDS))
            left = self.moment.timestamp() - time.time()
        yield TriggerEvent(self.moment)
