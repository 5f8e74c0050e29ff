"""
Procrastinate: a queue in PostgreSQL, worked on in an event loop, with aiohttp.

Jobs are deferred a thousand at once, and 64 are worked on at once: by eight workers in one event
loop, since a worker fetches its jobs one after the other, and waits for the disk each time; that
was twice as fast as one worker. Stalled jobs are tried again by the periodic task of its "Retry
stalled jobs", each minute.
"""

from __future__ import annotations

import asyncio
import ssl
from typing import TYPE_CHECKING, Any

import aiohttp
import uvloop
from procrastinate import App, BaseRetryStrategy, JobContext, PsycopgConnector, RetryDecision

from benchmarks.peers.place import IN_FLIGHT, TIMEOUT, WAITS, Place, headers

if TYPE_CHECKING:
    from procrastinate.jobs import Job

CONNECTIONS = 16
WORKERS = 8


class _Schedule(BaseRetryStrategy):
    def get_retry_decision(self, *, exception: BaseException, job: Job) -> RetryDecision | None:
        if job.attempts >= len(WAITS) or getattr(exception, "status", 500) < 500:
            return None
        return RetryDecision(retry_in={"seconds": WAITS[job.attempts]})


def _app(place: Place, session: aiohttp.ClientSession | None = None) -> App:
    app = App(connector=PsycopgConnector(conninfo=place.postgres, max_size=CONNECTIONS))

    @app.task(name="post", retry=_Schedule())
    async def post(key: str, body: str) -> None:
        assert session
        async with session.post(place.url, data=body.encode(), headers=headers(key)) as answer:
            await answer.read()
            answer.raise_for_status()

    @app.periodic(cron="* * * * *")
    @app.task(name="stalled", queueing_lock="stalled", pass_context=True)
    async def retry_stalled_jobs(context: JobContext, timestamp: int) -> None:
        for job in await app.job_manager.get_stalled_jobs():
            await app.job_manager.retry_job(job)

    return app


def install(place: Place) -> None:
    """Make the queue."""

    async def install() -> None:
        async with _app(place).open_async() as app:
            await app.schema_manager.apply_schema_async()

    asyncio.run(install())


def produce(place: Place, leads: list[tuple[str, bytes]]) -> None:
    """Put the leads into the queue."""

    async def defer() -> None:
        async with _app(place).open_async() as app:
            for start in range(0, len(leads), 1000):
                jobs: list[dict[str, Any]] = [
                    {"key": key, "body": body.decode()} for key, body in leads[start : start + 1000]
                ]
                await app.configure_task("post").batch_defer_async(*jobs)

    uvloop.run(defer())


def work(place: Place) -> None:
    """Send what is in the queue."""

    async def run() -> None:
        context = ssl.create_default_context(cafile=place.authority)
        connector = aiohttp.TCPConnector(limit=IN_FLIGHT, ssl=context)
        timeout = aiohttp.ClientTimeout(total=TIMEOUT)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            _app(place, session).open_async() as app,
        ):
            options = {"concurrency": IN_FLIGHT // WORKERS, "install_signal_handlers": False}
            await asyncio.gather(*(app.run_worker_async(**options) for _ in range(WORKERS)))

    uvloop.run(run())
