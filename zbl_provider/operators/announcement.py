"""Tells people, once, that an integration is down, paused or back (Contract 8.7)."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from typing import Any

    from airflow.sdk import Context

    from zbl_provider.dispatch.breaker import Change

logger = logging.getLogger(__name__)


class Announcement:
    """
    Calls the notifiers of a task; one that fails stops neither the others nor the leads.

    A coroutine function is run to its end. It is called where no event loop runs.

    :param context: of the task
    :param callbacks: called with the context, in which ``outage`` says what has changed
    """

    def __init__(self, context: Context, callbacks: Sequence[Callable[[Context], Any]]) -> None:
        self._context = context
        self._callbacks = callbacks

    def __call__(self, change: Change) -> None:
        """
        Tell of a change.

        :param change: what this task was the first to find out
        """
        from zbl_provider.hooks.metrics import outage

        outage(change)
        facts = {
            "event": str(change.kind),
            "integration": change.integration,
            "since": change.since.isoformat(timespec="seconds"),
            "reason": change.answer,
        }
        for callback in self._callbacks:
            try:
                told = callback(cast("Context", {**self._context, "outage": facts}))
                if inspect.isawaitable(told):
                    asyncio.run(_come_of(told))
            except Exception:
                logger.exception("An on_outage_callback has failed; the leads go on.")


async def _come_of(told: Awaitable[object]) -> None:
    """Wait for what an asynchronous callback does: unawaited it would tell nobody."""
    await told
