"""Waits while an integration's leads are kept back, for one of them (Contract 1.2, 8.4, 8.7)."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from zbl_provider.triggers.polling import Poll, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from zbl_provider.watch.kept_back import KeptBackLook


class KeptBackTrigger(BaseTrigger):
    """
    Fires when an integration is neither held nor down, or no lead is left that could end that.

    For a lead that was tried it fires when the hold is over: it may be what ends an outage.

    There may be ten thousand tasks with a lead each: to start each of them now and then, just to
    see that nothing has changed, would keep all workers busy. The triggers of a process look into
    the log together, once for all integrations.

    :param webhook_conn_id: connection of the integration
    :param log_conn_id: connection of the delivery log's database; None as the operators have it
    :param poll_interval: seconds from an answer to the next look
    :param is_tried: an attempt was made at the task's lead, so that just a hold keeps it back
    """

    def __init__(
        self,
        *,
        webhook_conn_id: str,
        log_conn_id: str | None = None,
        poll_interval: float = 30.0,
        is_tried: bool = False,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of Airflow
        self.webhook_conn_id = webhook_conn_id
        self.log_conn_id = log_conn_id
        self.poll_interval = poll_interval
        self.is_tried = is_tried

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of this class and its arguments: nothing of a lead."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "webhook_conn_id": self.webhook_conn_id,
            "log_conn_id": self.log_conn_id,
            "poll_interval": self.poll_interval,
            "is_tried": self.is_tried,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the wait is over, or until a worker should look why there is no answer."""

        def look(integrations: Collection[str]) -> KeptBackLook:
            from zbl_provider.hooks.kept_back import look_at_integrations

            return look_at_integrations(self.log_conn_id, integrations)

        # Its task has looked a moment ago. Were the two ever of two minds, as when a connection
        # differs between worker and triggerer, they would otherwise start each other at once.
        await asyncio.sleep(self.poll_interval)
        poll = Poll.shared((type(self).__name__, self.log_conn_id), look, self.poll_interval)

        def is_over(seen: KeptBackLook) -> bool:
            return seen.ends_wait(self.webhook_conn_id, is_tried=self.is_tried)

        over = await until(poll, is_over, (self.webhook_conn_id,))
        yield TriggerEvent({"over": over})
