"""
PgQueuer: a queue in PostgreSQL, worked on in an event loop, with aiohttp.

Tuned as its "Performance Tuning" says: asyncpg, one connection for the worker, larger batches
(more than 100 were no faster), autovacuum settings; "durable", its default.
"""

from __future__ import annotations

import asyncio
import ssl
from datetime import timedelta
from typing import TYPE_CHECKING

import aiohttp
import asyncpg
import uvloop
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.errors import RetryRequested
from pgqueuer.queries import Queries

from benchmarks.peers.place import IN_FLIGHT, TIMEOUT, WAITS, Place, headers, is_retried

if TYPE_CHECKING:
    from pgqueuer.models import Job

BATCH = 100


def install(place: Place) -> None:
    """Make the queue."""

    async def install() -> None:
        queries = Queries(AsyncpgDriver(await asyncpg.connect(place.postgres)))
        await queries.install()
        await queries.driver.execute(queries.qbe.build_optimize_autovacuum_query())

    asyncio.run(install())


def produce(place: Place, leads: list[tuple[str, bytes]]) -> None:
    """Put the leads into the queue."""

    async def enqueue() -> None:
        queries = Queries(AsyncpgDriver(await asyncpg.connect(place.postgres)))
        for start in range(0, len(leads), 1000):
            payloads = [f"{key}\n".encode() + body for key, body in leads[start : start + 1000]]
            count = len(payloads)
            await queries.enqueue(["post"] * count, payloads, [0] * count)

    uvloop.run(enqueue())


def work(place: Place) -> None:
    """Send what is in the queue."""
    uvloop.run(_work(place))


async def _work(place: Place) -> None:
    context = ssl.create_default_context(cafile=place.authority)
    connector = aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=context)
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=TIMEOUT)
    async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
        connection = await asyncpg.connect(place.postgres)
        worker = PgQueuer(AsyncpgDriver(connection), resources={"session": session})

        @worker.entrypoint("post", on_failure="hold")
        async def post(job: Job) -> None:
            key, _, body = (job.payload or b"").partition(b"\n")
            wait = WAITS[job.attempts] if job.attempts < len(WAITS) else None
            try:
                async with session.post(
                    place.url, data=body, headers=headers(key.decode())
                ) as answer:
                    await answer.read()
            except (aiohttp.ClientError, TimeoutError) as problem:
                if wait is None:
                    raise
                raise RetryRequested(timedelta(seconds=wait), repr(problem)) from None
            if wait is not None and is_retried(answer.status):
                raise RetryRequested(timedelta(seconds=wait), str(answer.status))
            if not 200 <= answer.status < 300:
                raise RuntimeError(answer.status)

        await worker.run(batch_size=BATCH, max_concurrent_tasks=2 * BATCH)
