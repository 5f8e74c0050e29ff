"""The routes that show the log. Plain functions: FastAPI runs them outside of its event loop."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException
from fastapi import Query as FromUrl
from fastapi.responses import StreamingResponse

from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import Status
from zbl_provider.plugin.api import export, serialize
from zbl_provider.plugin.api.access import (
    Dags,
    Editable,
    GuardedRoute,
    Readable,
    from_this_page,
)
from zbl_provider.plugin.api.deps import Log
from zbl_provider.plugin.api.query import Asked, Now, Number, Person, email_hash_of, in_error
from zbl_provider.plugin.api.threads import PAGE

routes = APIRouter(route_class=GuardedRoute)

_EXPORTED_AT_ONCE = 1000
_LONG = timedelta(days=365)


@routes.get("/deliveries")
def deliveries(
    query: Asked,
    editable: Editable,
    log: Log,
    limit: Annotated[int, FromUrl(ge=1, le=200)] = 50,
    before: Number | None = None,
) -> dict[str, Any]:
    """Return the newest leads that the filters find, or those before a number."""
    return serialize.page(log.reader.deliveries(query, limit=limit, before=before), editable)


@routes.get("/deliveries.csv")
def deliveries_as_csv(query: Asked, log: Log) -> StreamingResponse:
    """Return all leads that the filters find, as a file."""
    pages = partial(log.reader.deliveries, query, _EXPORTED_AT_ONCE)
    name = {"Content-Disposition": 'attachment; filename="lead-deliveries.csv"'}
    pieces = export.lines(pages)
    first = next(pieces)

    async def lines() -> AsyncIterator[str]:
        yield first
        while (piece := await PAGE.run(next, pieces, None)) is not None:
            yield piece

    return StreamingResponse(lines(), media_type="text/csv", headers=name)


@routes.get("/deliveries/{delivery_id}")
def delivery(delivery_id: Number, dags: Readable, editable: Editable, log: Log) -> dict[str, Any]:
    """Return one lead with its attempts."""
    lead = log.reader.delivery(delivery_id)
    if lead is None or not (dags is None or lead.row.run.dag_id in dags):
        raise HTTPException(404, "There is no such lead in the log.")
    return serialize.detail(lead, editable)


@routes.post("/email-hash", dependencies=[Depends(from_this_page)])
def email_hash(person: Person, _: Readable, log: Log) -> dict[str, str]:
    """
    Return what the filters take in place of a person's email (Contract 8.8).

    The filters are part of addresses, which servers and proxies log, browsers keep and people
    share. The email comes in a body, which is not logged. The hash that comes back tells nothing to
    somebody without the key, and finds nothing once the person is erased.
    """
    return {"email_hash": email_hash_of(log.reader.email_hashes(person.email))}


@routes.get("/funnel")
def funnel(query: Asked, log: Log) -> dict[str, int]:
    """Return how many leads stand where, whatever status is filtered by."""
    counts = log.reader.funnel(replace(query, status=None))
    return {status.value: counts.get(status, 0) for status in Status}


@routes.get("/activity")
def activity(
    query: Asked, log: Log, now: Now, buckets: Annotated[int, FromUrl(ge=1, le=200)] = 48
) -> list[dict[str, Any]]:
    """Return attempts over time, of the last year where no period is asked for."""
    query = replace(query, status=None, since=query.since or now - _LONG)
    stretches = log.reader.activity(query, now=now, buckets=buckets)
    return [serialize.bucket(stretch) for stretch in stretches]


@routes.get("/resendable")
def resendable(query: Asked, editable: Editable, log: Log) -> dict[str, int]:
    """Return how many leads in error a resend of all would send."""
    return {"count": log.resendable(in_error(_within(query, editable)))}


@routes.get("/waiting")
def waiting(query: Asked, editable: Editable, log: Log) -> dict[str, int]:
    """Return how many leads that wait would be sent now, whatever status is filtered by."""
    return {"count": log.count_waiting(replace(_within(query, editable), status=None))}


def _within(query: Query, editable: Dags) -> Query:
    return replace(query, dags=editable if query.dags is None else editable & query.dags)
