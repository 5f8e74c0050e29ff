"""The routes that change something. Each needs the right to edit Dags, and this very page."""

from collections.abc import Collection
from typing import Any

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.core_api.security import GetUserDep
from airflow.sdk.exceptions import AirflowException
from fastapi import APIRouter, Depends, HTTPException

from zbl_provider.exceptions import MissingConnection, ZblError
from zbl_provider.log.browse.model import Query, Row
from zbl_provider.log.model import RunKey
from zbl_provider.log.storage.cipher import UnreadableError
from zbl_provider.log.store import DeliveryLog
from zbl_provider.plugin.api import curl
from zbl_provider.plugin.api.access import (
    Dags,
    Editor,
    GuardedRoute,
    Keeper,
    Tester,
    from_this_page,
    permitted,
)
from zbl_provider.plugin.api.audit import record
from zbl_provider.plugin.api.deps import Log
from zbl_provider.plugin.api.query import Chosen, Hastening, NotCleared, Now, Number, in_error
from zbl_provider.plugin.api.serialize import kept_back
from zbl_provider.plugin.api.threads import Threads

routes = APIRouter(dependencies=[Depends(from_this_page)], route_class=GuardedRoute)

# A receiver takes its time: it is to keep no thread from those who look at the log.
_TESTS = Threads(count=2, waiting=4, seconds=30)


@routes.post("/resend")
def resend(chosen: Chosen, dags: Editor, user: GetUserDep, log: Log, now: Now) -> dict[str, Any]:
    """
    Mark leads to be sent again, and name the task instances that the page is to clear.

    The page clears them through Airflow's own REST API, with the user's own session: so Airflow
    decides whether it may, writes its audit log, and no token is passed on by this process.
    """
    meant = _meant(chosen, dags, user, log)
    query = in_error(meant) if isinstance(meant, Query) else None
    record(user, "resend", **_recorded(chosen))
    resent = log.resend(meant if query is None else query, now, dags=dags)
    return {
        "count": resent.count,
        "left": 0 if query is None else log.resendable(query),
        "unsendable": resent.unsendable,
        "runs": [key.as_dict() for key in resent.runs],
        **_in_the_way(log, resent.integrations),
    }


@routes.post("/send-now")
def send_now(
    chosen: Hastening, dags: Editor, user: GetUserDep, log: Log, now: Now
) -> dict[str, Any]:
    """Have leads that wait be due now, and name the task instances to clear (Contract 3.5)."""
    meant = _meant(chosen, dags, user, log)
    record(user, "send_now", **_recorded(chosen))
    hastened = log.send_now(meant, now, after=chosen.after, dags=dags)
    return {
        "count": hastened.count,
        "after": hastened.after,
        "runs": [key.as_dict() for key in hastened.runs],
        **_in_the_way(log, hastened.integrations),
    }


@routes.post("/deliveries/{delivery_id}/payload")
def payload(delivery_id: Number, dags: Editor, user: GetUserDep, log: Log) -> dict[str, Any]:
    """
    Return what is sent of one lead, decrypted, for whoever may edit its Dag (Contract 8.8).

    A change in that it leaves a record: who has looked is in Airflow's audit log.
    """
    detail = log.reader.delivery(delivery_id)
    if detail is None or detail.row.run.dag_id not in dags:
        raise HTTPException(404, "There is no such lead of a Dag that you may edit.")
    # By its number: its own id would outlive its erasure.
    row = detail.row
    record(user, "payload", of=row.run, lead=delivery_id, integration=row.integration)
    try:
        body = log.reader.payload(delivery_id)
    except UnreadableError as problem:
        raise HTTPException(409, f"It cannot be read: {problem}") from None
    if body is None:
        raise HTTPException(410, "The log no longer has what was sent of this lead, or never had.")
    return {"payload": body.decode("utf-8", "replace")} | _request(row, body)


@routes.post("/forget")
def forget(cleared: NotCleared, dags: Editor, log: Log, now: Now) -> dict[str, int]:
    """Take back that tasks were to send chosen leads alone: Airflow did not clear them."""
    if not {run.dag_id for run in cleared.runs} <= dags:
        raise HTTPException(403, "You may not edit all of these task instances.")
    log.forget_choice([RunKey(**dict(run)) for run in cleared.runs], now)
    return {"count": len(cleared.runs)}


@routes.post("/integrations/{name:path}/hold")
def hold(name: Keeper, user: GetUserDep, log: Log, now: Now) -> dict[str, str]:
    """Have the integration's leads recorded and not sent."""
    record(user, "hold", integration=name)
    log.hold(name, user.get_name(), now)
    return {"message": f"{name} is held."}


@routes.post("/integrations/{name:path}/resume")
def resume(name: Keeper, user: GetUserDep, log: Log) -> dict[str, str]:
    """Have the integration's leads sent again."""
    record(user, "resume", integration=name)
    log.resume(name)
    return {"message": f"{name} is resumed."}


@routes.post("/integrations/{name:path}/test")
async def test(name: Tester, user: GetUserDep) -> dict[str, Any]:
    """Send one test lead, as the Test button of the connection does (Contract 1.6)."""

    def send() -> dict[str, Any]:
        from zbl_provider.hooks.connections import find_connection
        from zbl_provider.hooks.webhook import WebhookHook

        record(user, "test", integration=name)
        try:
            find_connection(name, WebhookHook.conn_name_attr)
        except MissingConnection:
            raise HTTPException(404, f"There is no connection {name} any more.") from None
        delivered, message = WebhookHook(name).test_connection()
        return {"delivered": delivered, "message": message}

    return await _TESTS.run(send)


def _request(row: Row, body: bytes) -> dict[str, Any]:
    """Return the names of the integration's headers, and the request as a curl command."""
    from zbl_provider.hooks.webhook import WebhookHook

    try:
        destination = WebhookHook(row.integration).destination
    except (ZblError, AirflowException):  # gone, or such that nothing can be sent with it
        return {"headers": None, "curl": None}
    text = body.decode("utf-8", "replace")
    return {
        "headers": [name for name, _ in destination.headers],
        "curl": curl.command(destination, row.webhook_id, text),
    }


def _in_the_way(log: DeliveryLog, names: Collection[str]) -> dict[str, Any]:
    """Name the integrations that leads do not go out to freely, though they are due (3.5)."""
    from zbl_provider.hooks.webhook import is_active

    states = [log.integration(name) for name in sorted(names)]
    return {
        "kept_back": [kept_back(state) for state in states if state.is_kept_back],
        "inactive": [state.name for state in states if is_active(state.name) is False],
    }


def _meant(chosen: Chosen, dags: Dags, user: BaseUser, log: DeliveryLog) -> Query | Collection[int]:
    if (chosen.ids is None) == (chosen.filter is None):
        raise HTTPException(422, "Name ids or a filter.")
    if chosen.filter is not None:
        # Of many, those that were shown and counted: some may be edited, and not be read.
        return chosen.filter.query(permitted(user, dags, "GET"))
    ids = chosen.ids or []
    if not log.reader.dags_of(ids) <= dags:
        raise HTTPException(403, "You may not edit the task instances of all of these leads.")
    return ids


def _recorded(chosen: Chosen) -> dict[str, Any]:
    """Return what was chosen, without what names a person: it would outlive an erasure."""
    return chosen.model_dump(
        mode="json", exclude_none=True, exclude={"filter": {"lead_id", "email_hash"}}
    )
