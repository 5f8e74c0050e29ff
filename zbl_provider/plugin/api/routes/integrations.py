"""The route that shows the integrations: what keeps them back, and how they do."""

from datetime import UTC, datetime
from typing import Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter

from zbl_provider.log.browse.model import Query, Totals
from zbl_provider.log.model import Integration, Status
from zbl_provider.log.store import DeliveryLog
from zbl_provider.plugin.api.access import Dags, Readable, permitted, untestable
from zbl_provider.plugin.api.deps import Log
from zbl_provider.plugin.api.query import Asked
from zbl_provider.plugin.api.serialize import moment
from zbl_provider.plugin.api.threads import OwnThreadRoute

routes = APIRouter(route_class=OwnThreadRoute)

_EVER = datetime(2000, 1, 1, tzinfo=UTC)


@routes.get("/integrations")
def integrations(query: Asked, dags: Readable, user: GetUserDep, log: Log) -> list[dict[str, Any]]:
    """Return each integration that Dags the user may read have sent to."""
    states = {one.name: one for one in log.integrations()}
    editable = permitted(user, log.reader.dags(), "PUT")
    return [
        _shown(states.get(one.integration, Integration(one.integration)), one)
        | _rights(log, one.integration, editable, user)
        for one in _totals(log, query.since or _EVER, dags)
    ]


def _totals(log: DeliveryLog, since: datetime, dags: Dags | None) -> list[Totals]:
    found = log.reader.integrations(since)
    if dags is None:
        return found
    # The figures of all Dags together are not for those who may see some of them.
    return [
        Totals(
            integration=one.integration,
            counts=log.reader.funnel(Query(integration=one.integration, since=since, dags=dags)),
            p50_ms=None,
            p95_ms=None,
        )
        for one in found
        if log.reader.dags(integration=one.integration) & dags
    ]


def _rights(log: DeliveryLog, name: str, editable: Dags, user: BaseUser) -> dict[str, bool]:
    may_change = bool(editable) and log.reader.dags(integration=name) <= editable
    return {"may_change": may_change, "may_test": may_change and not untestable(user, name)}


def _shown(state: Integration, totals: Totals) -> dict[str, Any]:
    return {
        "name": state.name,
        "held_at": moment(state.held_at),
        "held_by": state.held_by,
        "paused_at": moment(state.paused_at),
        "paused_status": state.paused_status,
        "down_since": moment(state.failing_since) if state.down else None,
        "down_reason": state.down_reason if state.down else None,
        "counts": {status.value: totals.counts.get(status, 0) for status in Status},
        "p50_ms": totals.p50_ms,
        "p95_ms": totals.p95_ms,
    }
