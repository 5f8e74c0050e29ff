"""Looks up which integrations are held or down, for triggers; it reads, and never sends (3.4)."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from zbl_provider.hooks.delivery_log import delivery_log
from zbl_provider.hooks.webhook import is_active
from zbl_provider.watch.kept_back import KeptBackLook

if TYPE_CHECKING:
    from collections.abc import Iterable


def look_at_integrations(log_conn_id: str | None, integrations: Iterable[str]) -> KeptBackLook:
    """
    Look which of some integrations are held, in the log or by their connection, or down.

    :param log_conn_id: connection of the delivery log's database; None as the operators have it
    :param integrations: their connection ids
    :raises ZblError: if the log cannot be used
    """
    now = datetime.now(UTC)
    free, outages, unreadable = set(), {}, set()
    with closing(delivery_log(log_conn_id)) as log:
        for name in integrations:
            state = log.integration(name)
            if state.held or (active := is_active(name)) is False:
                continue
            if active is None:
                unreadable.add(name)
            # A pause is another reason to wait: what it means, the task knows.
            elif not state.paused and (outage := log.outage(name, now)):
                outages[name] = outage
            else:
                free.add(name)
    return KeptBackLook(free, outages, unreadable, now)
