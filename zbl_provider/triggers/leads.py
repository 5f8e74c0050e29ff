"""Triggers that wait for leads which are not yet delivered (Contract 8.1 and 8.2)."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, BaseTrigger, TriggerEvent

from zbl_provider.dispatch.troubles import Troubles
from zbl_provider.exceptions import ConfigurationError
from zbl_provider.hooks.leads_query import LeadsQuery, interval_seconds
from zbl_provider.hooks.statement import check_statement
from zbl_provider.leads.columns import FieldMap
from zbl_provider.triggers.announcing import Announcements
from zbl_provider.triggers.polling import Poll, in_thread, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence
    from datetime import timedelta


_REST = 4  # times as long as the look before: other triggers share the process


class _LeadsTrigger(BaseTrigger):
    """
    What both triggers share: a query of leads, as plain JSON.

    :param sql: the query
    :param leads_conn_id: connection of its database
    :param webhook_conn_id: connection of the integration
    :param parameters: bound to the query by the driver; JSON values
    :param field_map: names of columns that are to be other fields than their names say
    :param log_conn_id: connection of the delivery log's database; `[zbl] delivery_log_conn_id` by
        default
    :param poll_interval: seconds from an answer to the next look
    :raises ConfigurationError: for what cannot travel to the triggerer, a statement that is no
        query, and a ``field_map`` that names no field
    """

    def __init__(
        self,
        *,
        sql: str,
        leads_conn_id: str,
        webhook_conn_id: str = "zbl_webhook_default",
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        field_map: Mapping[str, str] | None = None,
        log_conn_id: str | None = None,
        poll_interval: float | timedelta = 5.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # of Airflow
        # Where the Dag is written: a watcher that asks in vain would only warn in its own log.
        check_statement(sql)
        FieldMap.parse(field_map)
        self.sql = sql
        self.leads_conn_id = leads_conn_id
        self.webhook_conn_id = webhook_conn_id
        self.parameters = _plain("parameters", parameters)
        self.field_map = _plain("field_map", field_map)
        self.log_conn_id = log_conn_id
        self.poll_interval = interval_seconds(poll_interval)

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the path of this class and its arguments: plain JSON."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            **LeadsQuery.of(self).as_dict(),
            "poll_interval": self.poll_interval,
        }


class QualifiedLeadTrigger(_LeadsTrigger, BaseEventTrigger):
    """
    Fires an asset event when a query has leads to deliver, seconds after their commit (8.2).

    For an `AssetWatcher`; the Dag that the asset schedules runs a `DispatchLeadsOperator` with the
    same query::

        qualified = Asset(
            "qualified_leads",
            watchers=[AssetWatcher(name="crm", trigger=QualifiedLeadTrigger(sql=…, …))],
        )

    It keeps no watermark, and so has none to lose: the delivery log is what is remembered. Each
    look compares the leads of the query, by id, with the log, and finds whatever the log does not
    have yet, in whichever order it was committed. Let the query look back as far as a commit may be
    late. What is announced once is not announced at every look; as long as it is not taken up it is
    announced again after 1, 2, 4, … minutes, at most an hour. Leads in the log that are due, and
    that nobody is about to send, are announced half a minute later, too: those of a run that died,
    or that did not wait for its retries, or of an integration that was resumed.

    The event says the connection id and how many leads it is about, each count 1,000 at most:
    ``{"integration": "zapier", "leads": 2, "overdue": 0}``. One event too many (after a restart, or
    when two triggerers overlap) does no harm: the run it causes finds nothing to do. While a
    database is away the trigger goes on asking, some seconds apart; it never ends by itself.

    Nothing is templated: have the database's own clock look back.

    :param sql: the query: SQL, and not a file
    :param leads_conn_id: connection of its database, of any type that Airflow has
    :param webhook_conn_id: connection of the integration
    :param parameters: bound to the query by the driver; JSON values, and nobody's personal data,
        since Airflow stores them with the Dag
    :param field_map: as of `DispatchLeadsOperator`
    :param log_conn_id: connection of the delivery log's database; `[zbl] delivery_log_conn_id` by
        default
    :param poll_interval: seconds, or a ``timedelta``, from the end of a look to the next; a look
        that takes long is followed by four times as long a pause, so that it costs the triggerer a
        fifth of a processor at most
    :raises ConfigurationError: for what cannot travel to the triggerer, a statement that is no
        query, and a ``field_map`` that names no field
    """

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look again and again; fire when there is something to do."""
        announcements = Announcements()
        troubles = Troubles(self.poll_interval)
        while True:
            began, took = time.monotonic(), 0.0
            try:
                backlog = await in_thread(lambda: LeadsQuery.of(self).backlog())
            except Exception as problem:  # noqa: BLE001  whatever it is, it may pass
                if text := troubles.news(problem, self.sql):
                    self.log.warning("Watching leads for %s: %s.", self.webhook_conn_id, text)
            else:
                took = time.monotonic() - began
                if troubles.over():
                    self.log.info("Watching leads for %s again.", self.webhook_conn_id)
                if announcements.due(backlog.keys, time.monotonic()):
                    yield _event(
                        {
                            "integration": self.webhook_conn_id,
                            "leads": len(backlog.leads),
                            "overdue": backlog.overdue,
                        }
                    )
            await asyncio.sleep(max(troubles.pause, _REST * took))


class LeadsWaitTrigger(_LeadsTrigger):
    """Fires when a query has a lead that is not yet delivered: what QualifiedLeadSensor awaits."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Look until there is one, or until a worker should look why there is no answer."""
        query = LeadsQuery.of(self)
        key = (type(self).__name__, json.dumps(query.as_dict(), sort_keys=True))
        poll = Poll.shared(key, lambda _: query.count(up_to=1), self.poll_interval)
        yield _event({"found": await until(poll, bool)})


def _event(payload: dict[str, Any]) -> TriggerEvent:
    return TriggerEvent(payload)


def _plain(field: str, value: object) -> Any:  # noqa: ANN401  any JSON
    """Return what will come out at the other end; a tuple becomes a list."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise ConfigurationError(
            field=field,
            problem="it holds a value that JSON cannot hold",
            remedy="Give it as text, and have the query cast it",
        ) from None
