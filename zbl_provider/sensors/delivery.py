"""The sensor that waits for deliveries (Contract 8.1)."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, get_args

from airflow.sdk import PokeReturnValue

from zbl_provider.exceptions import ConfigurationError, InvalidLead
from zbl_provider.hooks.failing import failing_for_good
from zbl_provider.sensors.base import DeferrableSensor
from zbl_provider.watch.arrivals import Arrivals, IfFiltered

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger


class LeadDeliverySensor(DeferrableSensor):
    """
    Wait until given leads are delivered to an integration.

    It fails, past Airflow's retries, as soon as one of them ended in `error` or is `invalid`. A
    lead that the delivery log does not know yet is waited for. Nothing is sent: some other task
    has to. Returns counts by status, such as ``{"delivered": 3}``.

    :param lead_ids: the leads' own ids: a list, one id, or JSON text of a list such as
        ``{{ ti.xcom_pull(task_ids='found') | tojson }}`` (templated, mappable). There is nothing to
        wait for in an empty one
    :param webhook_conn_id: connection of the integration, of type ``zbl_webhook`` (templated)
    :param if_filtered: what a lead is that the integration's filters keep back, so that it will not
        be delivered: ``fail`` as an error would, or ``accept`` it, and count it apart
    :param log_conn_id: connection of the delivery log's database; `[zbl] delivery_log_conn_id` by
        default (templated)
    :param deferrable: wait without a worker; `[operators] default_deferrable` by default
    :raises ConfigurationError: for another ``if_filtered``
    """

    template_fields: Sequence[str] = ("lead_ids", "webhook_conn_id", "log_conn_id")

    def __init__(
        self,
        *,
        lead_ids: Iterable[Any] | str | int,
        webhook_conn_id: str = "zbl_webhook_default",
        if_filtered: IfFiltered = "fail",
        log_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.lead_ids = lead_ids
        self.webhook_conn_id = webhook_conn_id
        self.if_filtered = if_filtered
        self.log_conn_id = log_conn_id
        if if_filtered not in get_args(IfFiltered):
            raise ConfigurationError(
                field="if_filtered",
                problem=f"{if_filtered!r} is not one of the choices",
                remedy="Choose fail or accept",
            )

    @failing_for_good()
    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002  Airflow's own signature
        """
        Look once.

        :param context: Airflow's
        :return: whether all are delivered, and the summary
        :raises AirflowFailException: when one will not be; or for what only a person can change
            (Contract 3.2)
        :raises DeliveryLogUnavailable: while the log is away
        """
        from airflow.sdk.exceptions import AirflowFailException

        from zbl_provider.hooks.connections import find_connection
        from zbl_provider.hooks.leads_query import ids_by_webhook_id, standings
        from zbl_provider.log.storage.retry import TASK_RETRY

        # A wrong name would be waited for in vain.
        find_connection(self.webhook_conn_id, "webhook_conn_id")
        ids = ids_by_webhook_id(self.webhook_conn_id, as_lead_ids(self.lead_ids))
        known = standings(self.log_conn_id, ids, retry_for=TASK_RETRY)
        leads = Arrivals.judge(ids, known, self.if_filtered)
        self.log.info("Of %d leads: %s.", leads.total, leads.summary or "none is known yet")
        if leads.failed:
            raise AirflowFailException(leads.failure(self.webhook_conn_id))
        return PokeReturnValue(is_done=leads.arrived, xcom_value=leads.summary)

    def _trigger(self, seconds: float) -> BaseTrigger:
        from zbl_provider.triggers.delivery import LeadDeliveryTrigger

        return LeadDeliveryTrigger(
            lead_ids=as_lead_ids(self.lead_ids),
            webhook_conn_id=self.webhook_conn_id,
            if_filtered=self.if_filtered,
            log_conn_id=self.log_conn_id,
            poll_interval=seconds,
        )


def as_lead_ids(given: object) -> list[str]:
    """
    Read ids of leads as an author, a template or an XCom gives them.

    :param given: a list or the like, JSON text of a list, or one id
    :return: each once, as text
    :raises ConfigurationError: for anything else
    """
    from zbl_provider.leads.values import as_identifier

    try:
        if isinstance(given, str) and given.lstrip().startswith("["):
            given = json.loads(given)
        is_text = isinstance(given, str | bytes | bytearray)
        values = given if isinstance(given, Iterable) and not is_text else [given]
        ids = [as_identifier(lead_id, "lead_ids") for lead_id in values]
    except (InvalidLead, RecursionError, ValueError):
        ids = [None]
    if None in ids or isinstance(given, Mapping):
        raise ConfigurationError(
            field="lead_ids",
            problem="it holds a value that is not the id of a lead",
            remedy="Give a list of ids, or a template that ends in | tojson",
        )
    return list(dict.fromkeys(str(lead_id) for lead_id in ids))
