"""Looks up which destinations are down, for triggers; it reads, and never sends (3.4)."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from zbl_provider.hooks.delivery_log import delivery_log
from zbl_provider.watch.outages import OutageLook

if TYPE_CHECKING:
    from collections.abc import Iterable


def look_at_outages(log_conn_id: str | None, integrations: Iterable[str]) -> OutageLook:
    """
    Look which of some integrations are down (Contract 8.7).

    :param log_conn_id: connection of the delivery log's database; None as the operators have it
    :param integrations: their connection ids
    :raises ZblError: if the log cannot be used
    """
    now = datetime.now(UTC)
    outages = {}
    with closing(delivery_log(log_conn_id)) as log:
        for name in integrations:
            # A pause is another reason to wait: what it means, the task knows.
            if not log.integration(name).paused and (outage := log.outage(name, now)):
                outages[name] = outage
    return OutageLook(outages, now)
