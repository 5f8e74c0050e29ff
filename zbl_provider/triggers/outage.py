"""Waits while a destination is down, for a lead that was not tried (Contract 8.7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from zbl_provider.triggers.polling import Poll, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from zbl_provider.watch.outages import OutageLook


class OutageTrigger(BaseTrigger):
    """
    Fires when a destination is no longer down, or no lead is left that could find that out.

    There may be ten thousand tasks with a lead each: to start each of them now and then, just to
    see that nothing has changed, would keep all workers busy. The triggers of a process look into
    the log together, once for all destinations.

    :param webhook_conn_id: connection of the integration
    :param log_conn_id: connection of the delivery log's database; None as the operators have it
    :param poll_interval: seconds from an answer to the next look
    """

    def __init__(
        self, *, webhook_conn_id: str, log_conn_id: str | None = None, poll_interval: float = 30.0
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of Airflow
        self.webhook_conn_id = webhook_conn_id
        self.log_conn_id = log_conn_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of this class and its arguments: nothing of a lead."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "webhook_conn_id": self.webhook_conn_id,
            "log_conn_id": self.log_conn_id,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the wait is over, or until a worker should look why there is no answer."""

        def look(integrations: Collection[str]) -> OutageLook:
            from zbl_provider.hooks.outages import look_at_outages

            return look_at_outages(self.log_conn_id, integrations)

        poll = Poll.shared((type(self).__name__, self.log_conn_id), look, self.poll_interval)
        over = await until(
            poll, lambda seen: seen.ends_wait(self.webhook_conn_id), (self.webhook_conn_id,)
        )
        yield TriggerEvent({"over": over})
