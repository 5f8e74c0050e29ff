"""The route that shows the integrations: what keeps them back, and how they do."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, HTTPException

from zbl_provider.log.browse.model import Totals
from zbl_provider.log.model import Integration, Status
from zbl_provider.log.store import DeliveryLog
from zbl_provider.plugin.api.access import Dags, Name, Readable, permitted, testable
from zbl_provider.plugin.api.deps import Log
from zbl_provider.plugin.api.query import Asked
from zbl_provider.plugin.api.serialize import kept_back
from zbl_provider.plugin.api.threads import OwnThreadRoute, Threads, own_thread

routes = APIRouter(route_class=OwnThreadRoute)

# A secrets backend takes its time: it is to keep no thread from those who look at the log.
_CONNECTIONS = Threads(count=2, waiting=200, seconds=10)

_EVER = datetime(2000, 1, 1, tzinfo=UTC)


@routes.get("/integrations")
def integrations(query: Asked, dags: Readable, user: GetUserDep, log: Log) -> list[dict[str, Any]]:
    """Return each integration that Dags the user may read have sent to."""
    states = {state.name: state for state in log.integrations()}
    senders = log.reader.dags_by_integration()
    editable = permitted(user, frozenset().union(*senders.values()), "PUT")
    shown = _totals(log, query.since or _EVER, dags, senders)
    changeable = {
        totals.integration
        for totals in shown
        if editable and senders.get(totals.integration, frozenset()) <= editable
    }
    tested = testable(user, frozenset(changeable))
    return [
        _shown(states.get(totals.integration, Integration(totals.integration)), totals)
        | {
            "may_change": totals.integration in changeable,
            "may_test": totals.integration in tested,
        }
        for totals in shown
    ]


def visible(name: Name, dags: Readable, log: Log) -> str:
    """
    Return the integration's connection id, for a user who may read of a Dag that sends to it.

    :raises HTTPException: 404 if there is none
    """
    senders = log.reader.dags(integration=name)
    if not (senders if dags is None else senders & dags):
        raise HTTPException(404, f"No lead was ever enrolled for {name}.")
    return name


@routes.get("/integrations/{name:path}/active")
async def active(name: Annotated[str, Depends(own_thread(visible))]) -> dict[str, bool | None]:
    """Tell whether its connection lets leads go out; null if it cannot be read (Contract 1.2)."""

    def look() -> bool | None:
        from zbl_provider.hooks.webhook import is_active

        return is_active(name)

    return {"active": await _CONNECTIONS.run(look)}


def _totals(
    log: DeliveryLog, since: datetime, dags: Dags | None, senders: Mapping[str, Dags]
) -> list[Totals]:
    if dags is None:
        return log.reader.integrations(since)
    # The figures of all Dags together are not for those who may see some of them.
    counts = log.reader.counts_by_integration(since, dags)
    return [
        Totals(integration=name, counts=counts.get(name, {}), p50_ms=None, p95_ms=None)
        for name in sorted(senders)
        if senders[name] & dags
    ]


def _shown(state: Integration, totals: Totals) -> dict[str, Any]:
    return {
        **kept_back(state),
        "counts": {status.value: totals.counts.get(status, 0) for status in Status},
        "p50_ms": totals.p50_ms,
        "p95_ms": totals.p95_ms,
    }
