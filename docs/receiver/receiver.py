"""
A receiver of leads to start from: it verifies, drops duplicates, answers at once, works afterwards.

It keeps what arrives in an SQLite file. Give it a certificate, or a proxy that has one:

    pip install fastapi uvicorn standardwebhooks
    uvicorn receiver:app --port 8443 --ssl-keyfile key.pem --ssl-certfile certificate.pem

Run one process of it: two would drop duplicates, but both would work on what is not done yet.
"""

from __future__ import annotations

import json
import logging
import os
import sqlite3
import threading
from contextlib import asynccontextmanager, closing
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request, Response
from fastapi.concurrency import run_in_threadpool
from standardwebhooks import Webhook, WebhookVerificationError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

# The signing secret of the Airflow connection. During a rotation both, with a space between them.
SECRETS = [Webhook(secret) for secret in os.environ["SIGNING_SECRET"].split()]
DATABASE = os.environ.get("RECEIVER_DATABASE", "leads.db")
MAX_BYTES = 1_048_576  # no lead is larger
LATER_SECONDS = 60  # a lead that could not be worked on is tried again

log = logging.getLogger("uvicorn.error")
arrived = threading.Event()
stopping = threading.Event()


def work(lead: Mapping[str, Any], webhook_id: str) -> None:
    """
    Do with a lead what you want it for. This is the function to replace.

    It runs after the answer, and again if it fails or the process dies meanwhile. So what it does
    must be safe to do twice: hand webhook_id on as an idempotency key, or look before you write.
    """
    log.info("lead %s of %s", lead["lead"]["id"], webhook_id)


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    """Make the table, and work beside the server for as long as it runs."""
    with closing(connect()) as database:
        # The unique column is what drops duplicates, whatever arrives at the same moment.
        database.execute(
            "CREATE TABLE IF NOT EXISTS delivery (webhook_id TEXT PRIMARY KEY, body BLOB NOT NULL, "
            "received_at TEXT NOT NULL DEFAULT CURRENT_TIMESTAMP, done_at TEXT)"
        )
    stopping.clear()
    worker = threading.Thread(target=work_on_all)
    worker.start()
    yield
    stopping.set()
    arrived.set()
    worker.join()


app = FastAPI(lifespan=lifespan)


@app.post("/leads")
async def receive(request: Request) -> Response:
    """Answer 200 once the lead is safe here, and to each repetition. Nothing else happens first."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BYTES:
            return Response(status_code=413)
    headers = dict(request.headers)
    if not verified(body, headers):
        # The sender does not try this again: it means that one side has the wrong secret.
        return Response(status_code=401)
    if "x-zbl-test" not in headers:  # "Send test lead" in Airflow
        await run_in_threadpool(keep, headers["webhook-id"], body)
        arrived.set()
    return Response(status_code=200)


def verified(body: bytes, headers: dict[str, str]) -> bool:
    """Check the signature, over id, timestamp and body; a timestamp may be five minutes off."""
    for secret in SECRETS:
        try:
            secret.verify(body, headers, json_parse=False)
        except (WebhookVerificationError, ValueError):  # a header that cannot be read is one
            continue
        return True
    return False


def keep(webhook_id: str, body: bytes) -> None:
    """Write a lead down, unless it is here already; it is on the disk when this returns."""
    with closing(connect()) as database:
        database.execute(
            "INSERT INTO delivery (webhook_id, body) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (webhook_id, body),
        )


def work_on_all() -> None:
    """Work on what has arrived, and on what an earlier process left."""
    while not stopping.is_set():
        arrived.clear()
        try:
            work_on_what_waits()
        except sqlite3.Error:  # such as a full disk: it must not end the work for good
            log.exception("the database cannot be used, and is tried again later")
        arrived.wait(LATER_SECONDS)


def work_on_what_waits() -> None:
    """Work on each lead that is not done, the first one first."""
    with closing(connect()) as database:
        rows = database.execute(
            "SELECT webhook_id, body FROM delivery WHERE done_at IS NULL ORDER BY received_at"
        ).fetchall()
        for webhook_id, body in rows:
            if stopping.is_set():
                break
            work_on(database, webhook_id, body)


def work_on(database: sqlite3.Connection, webhook_id: str, body: bytes) -> None:
    """Work on one lead; one that fails stops no other."""
    try:
        work(json.loads(body), webhook_id)
    except Exception:
        log.exception("lead %s is tried again later", webhook_id)
        return
    database.execute(
        "UPDATE delivery SET done_at = CURRENT_TIMESTAMP WHERE webhook_id = ?", (webhook_id,)
    )


def connect() -> sqlite3.Connection:
    """Open the database; each statement is a transaction of its own."""
    return sqlite3.connect(DATABASE, timeout=10, isolation_level=None)
