"""The trigger that waits for deliveries (Contract 8.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from zbl_provider.triggers.polling import Poll, in_thread, until
from zbl_provider.watch.arrivals import Arrivals

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from zbl_provider.log.outbox.decision import Known
    from zbl_provider.watch.arrivals import IfFiltered


class LeadDeliveryTrigger(BaseTrigger):
    """
    Fires when leads are delivered, or one of them will not be: what LeadDeliverySensor awaits.

    All triggers of a process that read the same log, as often, look all of their leads up at once.

    :param lead_ids: the leads' own ids
    :param webhook_conn_id: connection of the integration
    :param if_filtered: as of the sensor
    :param log_conn_id: connection of the delivery log's database; None as the operators have it
    :param poll_interval: seconds from an answer to the next look
    """

    def __init__(
        self,
        *,
        lead_ids: Sequence[str],
        webhook_conn_id: str,
        if_filtered: IfFiltered = "fail",
        log_conn_id: str | None = None,
        poll_interval: float = 60.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of Airflow
        self.lead_ids = list(lead_ids)
        self.webhook_conn_id = webhook_conn_id
        self.if_filtered = if_filtered
        self.log_conn_id = log_conn_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of this class and its arguments: plain JSON, of the leads the ids."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "lead_ids": self.lead_ids,
            "webhook_conn_id": self.webhook_conn_id,
            "if_filtered": self.if_filtered,
            "log_conn_id": self.log_conn_id,
            "poll_interval": self.poll_interval,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until the wait is over, or until a worker should look why there is no answer."""

        def read_ids() -> dict[str, str]:
            from zbl_provider.hooks.leads_query import ids_by_webhook_id

            return ids_by_webhook_id(self.webhook_conn_id, self.lead_ids)

        def read_standings(webhook_ids: Collection[str]) -> dict[str, Known]:
            from zbl_provider.hooks.leads_query import standings

            return standings(self.log_conn_id, webhook_ids)

        ids = await in_thread(read_ids)
        key = (type(self).__name__, self.log_conn_id)
        poll = Poll.shared(key, read_standings, self.poll_interval)
        over = await until(
            poll, lambda known: Arrivals.judge(ids, known, self.if_filtered).over, ids
        )
        yield TriggerEvent({"found": over})
