"""The log's calls from an event loop: each waits for the database, and the loop for none."""

from __future__ import annotations

import asyncio
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from datetime import timedelta

import psycopg
import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.util import await_only

from tests.integration.log.setup import LEASE, lead
from zbl_provider.exceptions import DeliveryLogUnavailable
from zbl_provider.log.awaited import AwaitedLog
from zbl_provider.log.model import Status
from zbl_provider.log.store import DeliveryLog

only_postgresql = pytest.mark.parametrize("log_url", ["postgresql"], indirect=True)


# Without the server's own, such as a vacuum.
OTHERS = """
FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


@contextmanager
def nobody_writes(log_url):
    """Hold what each write of the log waits for."""
    engine = create_engine(log_url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        is_file = engine.dialect.name == "sqlite"
        connection.execute(text("BEGIN IMMEDIATE" if is_file else "BEGIN"))
        if not is_file:
            connection.execute(text("LOCK TABLE zbl_delivery IN EXCLUSIVE MODE"))
        yield
        connection.execute(text("ROLLBACK"))
    engine.dispose()


def administer(log_url, statement):
    plain = make_url(log_url).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        return connection.execute(statement).fetchall()


def connections(log_url):
    [(count,)] = administer(log_url, f"SELECT count(*) {OTHERS}")
    return count


def enrolling(setup, *leads):
    run = setup.run("run 1")
    return lambda log: log.enrol(run, "zapier", leads, setup.now, lease=LEASE)


async def test_the_loop_goes_on_while_a_call_waits(setup, log_url):
    """Senders send while the log is locked, and what was to be written is written (6.2)."""
    enrol, moments = enrolling(setup, lead("a")), 0
    async with AwaitedLog(setup.log) as awaited:
        with nobody_writes(log_url):
            calling = asyncio.create_task(awaited.call(enrol))
            for _ in range(30):
                await asyncio.sleep(0.01)
                moments += not calling.done()
        assert moments == 30
        assert [claimed.lead_id for claimed in (await calling).claimed] == ["a"]


@only_postgresql
async def test_what_a_call_asks_is_on_its_way_before_it_is_answered(setup, log_url):
    """A server carries out what it was told, so who waits for no more than that goes on (6.2)."""
    asked = asyncio.Event()
    async with AwaitedLog(setup.log) as awaited:
        with nobody_writes(log_url):
            calling = asyncio.create_task(
                awaited.call(enrolling(setup, lead("a")), asked=asked.set)
            )
            await asyncio.wait_for(asked.wait(), 5)
            assert not calling.done()
        await calling


async def test_calls_wait_side_by_side(setup, log_url):
    """A slow write holds up neither what reads nor another write."""
    enrol = enrolling(setup, lead("a"))
    run = setup.run("run 1")
    async with AwaitedLog(setup.log) as awaited:
        with nobody_writes(log_url):
            calling = asyncio.create_task(awaited.call(enrol))
            assert await awaited.call(lambda log: log.counts(run)) == {}
            assert not calling.done()
        await calling
        assert await awaited.call(lambda log: log.counts(run)) == {Status.SENDING: 1}


async def test_what_a_cancelled_call_returns_is_kept(setup, log_url):
    """What it claims all the same is given back, and does not wait for its lease (6.2)."""
    enrol, kept = enrolling(setup, lead("a")), []
    async with AwaitedLog(setup.log) as awaited:
        with nobody_writes(log_url):
            calling = asyncio.create_task(awaited.call(enrol, kept.append))
            await asyncio.sleep(0.2)
            calling.cancel()
            await asyncio.sleep(0.1)
        with pytest.raises(asyncio.CancelledError):
            await calling
    assert [claimed.lead_id for enrolment in kept for claimed in enrolment.claimed] == ["a"]


@only_postgresql
async def test_a_call_is_made_in_the_loop_itself(setup):
    """Threads that take turns with Python's lock cost each lead a fifth of its time."""
    async with AwaitedLog(setup.log) as awaited:
        thread = await awaited.call(lambda log: log.ping() or threading.current_thread())
    assert thread is threading.current_thread()


@only_postgresql
async def test_a_call_that_has_lost_its_connection_is_made_again(setup, log_url):
    """A restart of the server is no reason to lose what was to be written (6.2)."""
    run = setup.run("run 1")
    async with AwaitedLog(setup.log) as awaited:
        await awaited.call(lambda log: log.counts(run))
        administer(log_url, f"SELECT pg_terminate_backend(pid) {OTHERS}")
        await awaited.call(enrolling(setup, lead("a")))
        assert await awaited.call(lambda log: log.counts(run)) == {Status.SENDING: 1}


@only_postgresql
async def test_a_log_that_is_away_is_waited_for_in_a_thread(log_url):
    """The loop sees that it is waited for, and can end that (Contract 6.2)."""
    away = make_url(log_url).update_query_dict({"host": "/nowhere"})
    with closing(DeliveryLog(away, retry_for=timedelta(minutes=1))) as log:
        async with AwaitedLog(log) as awaited:
            calling = asyncio.create_task(awaited.call(lambda log: log.integrations()))
            async with asyncio.timeout(10):
                while not log.waiting:  # noqa: ASYNC110  it has no event to wait for
                    await asyncio.sleep(0.01)
            assert not calling.done()
            log.wait_no_more()
            with pytest.raises(DeliveryLogUnavailable):
                await calling


@only_postgresql
async def test_who_leaves_does_not_begin_to_wait(log_url):
    """A call that fails after its caller was cancelled is not made again."""
    away = make_url(log_url).update_query_dict({"host": "/nowhere"})
    threads = []

    def call(log):
        threads.append(threading.current_thread())
        calling.cancel()
        await_only(asyncio.sleep(0.05))
        return log.integrations()

    with closing(DeliveryLog(away, retry_for=timedelta(minutes=1))) as log:
        async with AwaitedLog(log) as awaited:
            calling = asyncio.create_task(awaited.call(call))
            with pytest.raises(asyncio.CancelledError):
                await calling
    assert threads == [threading.current_thread()]


@only_postgresql
def test_loops_that_use_one_log_at_once_have_connections_of_their_own(setup, log_url):
    """And each closes them when it ends."""
    before = connections(log_url)
    meeting = threading.Barrier(3)

    async def work(_):
        async with AwaitedLog(setup.log) as awaited:
            await awaited.call(lambda log: log.integrations())
            await asyncio.to_thread(meeting.wait, 10)
            return await awaited.call(lambda log: log.integrations())

    with ThreadPoolExecutor(3) as threads:
        assert list(threads.map(lambda n: asyncio.run(work(n)), range(3))) == [[], [], []]
    for _ in range(600):  # a session takes a moment to end
        if connections(log_url) == before:
            break
        time.sleep(0.05)
    assert connections(log_url) == before
