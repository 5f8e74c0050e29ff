"""Tells people, once, that an integration is down, paused or back (Contract 8.7)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from airflow.sdk import Context

    from zbl_provider.dispatch.breaker import Change

logger = logging.getLogger(__name__)


class Announcement:
    """
    Calls the notifiers of a task; one that fails stops neither the others nor the leads.

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
                callback(cast("Context", {**self._context, "outage": facts}))
            except Exception:
                logger.exception("An on_outage_callback has failed; the leads go on.")
