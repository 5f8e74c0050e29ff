"""
A query of leads, and what sensors and triggers ask of it; they read, and never send (3.4).

Light: a Dag file imports it while it is parsed, and what asks databases is imported when it asks.
"""

from __future__ import annotations

import math
from contextlib import closing
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

from zbl_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Generator,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from zbl_provider.dispatch.intake import FoundRow
    from zbl_provider.hooks.rows import Rows
    from zbl_provider.log.outbox.decision import Known
    from zbl_provider.watch.backlog import Backlog

_AT_ONCE = timedelta(0)
_LONGEST_INTERVAL = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LeadsQuery:
    """
    A query of leads, and the integration that they are for.

    :param sql: the query
    :param leads_conn_id: connection of its database
    :param webhook_conn_id: connection of the integration
    :param parameters: bound to the query by the driver
    :param field_map: names of columns that are to be other fields than their names say
    :param log_conn_id: connection of the delivery log's database; None as the operators have it
    """

    sql: str
    leads_conn_id: str
    webhook_conn_id: str
    parameters: Mapping[str, Any] | Sequence[Any] | None = None
    field_map: Mapping[str, str] | None = None
    log_conn_id: str | None = None

    @classmethod
    def of(cls, owner: object) -> Self:
        """Return the query of an operator, a sensor or a trigger, which has these attributes."""
        return cls(**{field.name: getattr(owner, field.name) for field in fields(cls)})

    def as_dict(self) -> dict[str, Any]:
        """Return the parameters of a sensor or a trigger with this query."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def leads(
        self, on_columns: Callable[[Sequence[str]], object] | None = None
    ) -> Generator[FoundRow]:
        """
        Find the leads of the query, each yet to be read but for its id (Contract 4.2).

        :param on_columns: called with the names of the columns, before any lead
        """
        from zbl_provider.dispatch.intake import find

        yield from find(self._rows(on_columns), self.field_map)

    def looks(self) -> Looks:
        """Return what finds the leads of the query again and again, over one connection (4.12)."""
        return Looks(self._rows(keep=True), self.field_map, self.leads_conn_id)

    def count(self, *, up_to: int | None = None, retry_for: timedelta = _AT_ONCE) -> int:
        """
        Count leads that are not delivered yet, and that a dispatch would take up (Contract 8.1).

        :param up_to: counted no further, and the query is read no further; 1,000 by default
        :param retry_for: how long the delivery log is waited for
        :raises ZblError: for a setting that cannot work, or a database that is away
        """
        from zbl_provider.hooks.delivery_log import delivery_log
        from zbl_provider.hooks.webhook import WebhookHook
        from zbl_provider.watch.backlog import MANY, read_backlog

        destination = WebhookHook(self.webhook_conn_id).without_login
        with (
            closing(delivery_log(self.log_conn_id, retry_for=retry_for)) as log,
            closing(read_backlog(self._rows(), self.field_map, destination, log)) as backlog,
        ):
            return sum(1 for _ in islice(backlog, up_to or MANY))

    def backlog(self) -> Backlog:
        """
        See what is to be done for the integration and is done by nobody (Contract 8.2).

        :raises ZblError: for a setting that cannot work, or a database that is away
        """
        from zbl_provider.hooks.delivery_log import delivery_log
        from zbl_provider.hooks.webhook import WebhookHook
        from zbl_provider.watch.backlog import sum_up

        destination = WebhookHook(self.webhook_conn_id).without_login
        with closing(delivery_log(self.log_conn_id)) as log:
            return sum_up(self._rows(), self.field_map, destination, log, datetime.now(UTC))

    def _rows(
        self,
        on_columns: Callable[[Sequence[str]], object] | None = None,
        *,
        keep: bool = False,
    ) -> Rows:
        from zbl_provider.dispatch.intake import check_columns
        from zbl_provider.hooks.rows import Rows

        def check(columns: Sequence[str]) -> None:
            check_columns(self.field_map, columns)
            if on_columns is not None:
                on_columns(columns)

        return Rows(self.leads_conn_id, self.sql, self.parameters, check, keep=keep)


class Looks:
    """
    The leads of a query, found again at each call (Contract 4.12).

    :param rows: of the query
    :param field_map: names of columns that are to be other fields than their names say
    :param conn_id: the connection of its database
    """

    def __init__(self, rows: Rows, field_map: Mapping[str, str] | None, conn_id: str) -> None:
        self.conn_id = conn_id
        self._rows = rows
        self._field_map = field_map

    def __call__(self) -> Iterator[FoundRow]:
        """Find the leads that the query has now, each yet to be read but for its id."""
        from zbl_provider.dispatch.intake import find

        return find(self._rows, self._field_map)

    def close(self) -> None:
        """Let go of the database until the next look; in the thread that looked."""
        self._rows.close()


def interval_seconds(interval: float | timedelta) -> float:
    """
    Read the time from one look at the query to the next.

    :param interval: seconds, or a ``timedelta``; a day at most
    :raises ConfigurationError: if it is none
    """
    try:
        seconds = interval.total_seconds() if isinstance(interval, timedelta) else float(interval)
    except (TypeError, ValueError):
        seconds = math.nan
    if 0 < seconds <= _LONGEST_INTERVAL.total_seconds() and not isinstance(interval, bool):
        return seconds
    raise ConfigurationError(
        field="poll_interval",
        problem=f"{interval!r} is not an interval of at most a day",
        remedy="Give some seconds, such as 5, or a timedelta",
    )


def ids_by_webhook_id(integration: str, lead_ids: Iterable[str]) -> dict[str, str]:
    """Return leads' ids by the webhook ids that the log knows them by."""
    from zbl_provider.leads.payload import webhook_id

    return {webhook_id(integration, lead_id): lead_id for lead_id in lead_ids}


def standings(
    log_conn_id: str | None, webhook_ids: Collection[str], *, retry_for: timedelta = _AT_ONCE
) -> dict[str, Known]:
    """
    Look up where leads stand (Contract 8.1).

    :param log_conn_id: connection of the delivery log's database; None as the operators have it
    :param webhook_ids: of the leads
    :param retry_for: how long the delivery log is waited for
    :return: by webhook id; what the log does not know is absent
    :raises ZblError: if the log cannot be used
    """
    from zbl_provider.hooks.delivery_log import delivery_log

    with closing(delivery_log(log_conn_id, retry_for=retry_for)) as log:
        return log.known(webhook_ids)
