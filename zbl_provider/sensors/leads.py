"""The sensor that waits for leads to send (Contract 8.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import PokeReturnValue

from zbl_provider.hooks.failing import failing_for_good
from zbl_provider.hooks.leads_query import LeadsQuery
from zbl_provider.sensors.base import DeferrableSensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger


class QualifiedLeadSensor(DeferrableSensor):
    """
    Wait until a query has leads that are not yet delivered to an integration.

    That is, until a `DispatchLeadsOperator` with the same query would have something to do: send a
    lead, wait for its retries, or fail for one that is invalid. Leads that were delivered, that
    ended in error (a clear or Resend sends these again), or that the filters keep back are no
    reason. Returns ``{"waiting": 3}``, counted up to 1,000.

    :param sql: the query, or a ``.sql`` file of the Dag's folder (templated)
    :param leads_conn_id: connection of its database, of any type that Airflow has (templated)
    :param webhook_conn_id: connection of the integration, of type ``zbl_webhook`` (templated)
    :param parameters: bound to the query by the driver; JSON values if the sensor is deferred
        (templated)
    :param field_map: as of `DispatchLeadsOperator`
    :param log_conn_id: connection of the delivery log's database; `[zbl] delivery_log_conn_id` by
        default (templated)
    :param deferrable: wait without a worker; `[operators] default_deferrable` by default
    """

    template_fields: Sequence[str] = (
        "sql",
        "parameters",
        "leads_conn_id",
        "webhook_conn_id",
        "log_conn_id",
    )
    template_ext: Sequence[str] = (".sql",)
    template_fields_renderers: ClassVar[dict[str, str]] = {"sql": "sql", "parameters": "json"}

    def __init__(
        self,
        *,
        sql: str,
        leads_conn_id: str,
        webhook_conn_id: str = "zbl_webhook_default",
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        field_map: Mapping[str, str] | None = None,
        log_conn_id: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sql = sql
        self.leads_conn_id = leads_conn_id
        self.webhook_conn_id = webhook_conn_id
        self.parameters = parameters
        self.field_map = field_map
        self.log_conn_id = log_conn_id

    @failing_for_good()
    def poke(self, context: Context) -> PokeReturnValue:  # noqa: ARG002  Airflow's own signature
        """
        Look once.

        :param context: Airflow's
        :return: whether there is a lead to send, and the summary
        :raises AirflowFailException: for what only a person can change (Contract 3.2)
        :raises DeliveryLogUnavailable: while the log is away
        :raises LeadsDatabaseError: while the leads' database is away, or refuses the query
        """
        from zbl_provider.log.storage.retry import TASK_RETRY

        count = LeadsQuery.of(self).count(retry_for=TASK_RETRY)
        self.log.info("Leads that wait to be delivered to %s: %d.", self.webhook_conn_id, count)
        return PokeReturnValue(is_done=count > 0, xcom_value={"waiting": count})

    def _trigger(self, seconds: float) -> BaseTrigger:
        from zbl_provider.triggers.leads import LeadsWaitTrigger

        return LeadsWaitTrigger(**LeadsQuery.of(self).as_dict(), poll_interval=seconds)
