"""The routes that change something. Each needs the right to edit Dags, and this very page."""

from collections.abc import Collection
from typing import Any

from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import APIRouter, Depends, HTTPException

from zbl_provider.log.model import RunKey
from zbl_provider.log.store import DeliveryLog
from zbl_provider.plugin.api.access import Dags, Editor, Keeper, Tester, from_this_page
from zbl_provider.plugin.api.deps import Log
from zbl_provider.plugin.api.query import Chosen, NotCleared, Now, in_error
from zbl_provider.plugin.api.threads import OwnThreadRoute, Threads

routes = APIRouter(dependencies=[Depends(from_this_page)], route_class=OwnThreadRoute)

# A receiver takes its time: it is to keep no thread from those who look at the log.
_TESTS = Threads(count=2, waiting=4, seconds=30)


@routes.post("/resend")
def resend(chosen: Chosen, dags: Editor, log: Log, now: Now) -> dict[str, Any]:
    """
    Mark leads to be sent again, and name the task instances that the page is to clear.

    The page clears them through Airflow's own REST API, with the user's own session: so Airflow
    decides whether it may, writes its audit log, and no token is passed on by this process.
    """
    if (chosen.ids is None) == (chosen.filter is None):
        raise HTTPException(422, "Name ids or a filter.")
    query = None if chosen.filter is None else in_error(chosen.filter.query(dags))
    found = log.resend(_allowed(chosen.ids or [], dags, log) if query is None else query, now)
    return {
        "count": found.count,
        "left": 0 if query is None else log.resendable(query),
        "unsendable": found.unsendable,
        "runs": [key.as_dict() for key in found.runs],
    }


@routes.post("/forget")
def forget(cleared: NotCleared, dags: Editor, log: Log, now: Now) -> dict[str, int]:
    """Take back that tasks were to send chosen leads alone: Airflow did not clear them."""
    if not {one.dag_id for one in cleared.runs} <= dags:
        raise HTTPException(403, "You may not edit the Dags of all of these tasks.")
    log.forget_choice([RunKey(**dict(one)) for one in cleared.runs], now)
    return {"count": len(cleared.runs)}


@routes.post("/integrations/{name}/hold")
def hold(name: Keeper, user: GetUserDep, log: Log, now: Now) -> dict[str, str]:
    """Have the integration's leads recorded and not sent."""
    log.hold(name, user.get_name(), now)
    return {"message": f"{name} is held."}


@routes.post("/integrations/{name}/resume")
def resume(name: Keeper, log: Log) -> dict[str, str]:
    """Have the integration's leads sent again."""
    log.resume(name)
    return {"message": f"{name} is resumed."}


@routes.post("/integrations/{name}/test")
async def test(name: Tester) -> dict[str, Any]:
    """Send one test lead, as the Test button of the connection does (Contract 1.6)."""
    return await _TESTS.run(_test, name)


def _test(name: str) -> dict[str, Any]:
    from airflow.sdk.exceptions import AirflowNotFoundException

    from zbl_provider.hooks.webhook import WebhookHook

    try:
        delivered, message = WebhookHook(name).test_connection()
    except AirflowNotFoundException:
        raise HTTPException(404, f"There is no connection {name} any more.") from None
    return {"delivered": delivered, "message": message}


def _allowed(ids: list[int], dags: Dags, log: DeliveryLog) -> Collection[int]:
    if not log.reader.dags_of(ids) <= dags:
        raise HTTPException(403, "You may not edit the Dags of all of these leads.")
    return ids
