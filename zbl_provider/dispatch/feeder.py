"""What was found goes into the log: read in one place, written in another, so that both overlap."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from zbl_provider.dispatch.intake import candidate
from zbl_provider.exceptions import DispatchStopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, timedelta

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.dispatch.intake import Unreadable
    from zbl_provider.dispatch.supply import Supply
    from zbl_provider.leads.lead import Lead
    from zbl_provider.log.model import Candidate, Claimed, Run
    from zbl_provider.log.outbox.decision import Rule
    from zbl_provider.log.store import DeliveryLog

_Item = TypeVar("_Item")

_FIRST_BATCH = 50  # leads of the first write of the log, so that sending begins soon;
_LARGEST_BATCH = 500  # each further one may have twice as many, up to this,
_LARGEST_BATCH_BYTES = 8 * 2**20  # and hardly more bytes: each rests in memory some times over
_BATCH_SECONDS = 0.1  # how long a lead waits for others to be written with


class Feed:
    """
    The leads that one run has found, on their way into the log.

    Half of the work is Python's, and half is waiting for the log's database: while one batch is
    written, the next is read. Both halves are called in turn, each in a thread of its own.

    :param log: the delivery log
    :param run: the run that found them
    :param destination: the integration with its filters
    :param rule: what to do with leads that are settled already
    :param found: leads, and rows that could not become one
    :param clock: gives the present time
    """

    def __init__(
        self,
        *,
        log: DeliveryLog,
        run: Run,
        destination: Destination,
        rule: Rule,
        found: Iterable[Lead | Unreadable],
        clock: Callable[[], datetime],
    ) -> None:
        self._log = log
        self._run = run
        self._destination = destination
        self._rule = rule
        self._found = iter(found)
        self._clock = clock
        self._problem: Exception | None = None
        self._largest = _FIRST_BATCH
        self.skipped = 0

    def read(self) -> list[Candidate]:
        """
        Read and judge the next leads; always in the same thread, as some databases demand it.

        :return: a batch, which is smaller where leads come slowly; empty when there are no more
        :raises Exception: what the source raised, once all that it gave before has been returned
        """
        batch: list[Candidate] = []
        if self._problem:
            raise self._problem
        try:
            self._fill(batch)
        except Exception as problem:
            if not batch:
                raise
            self._problem = problem
        return batch

    def _fill(self, batch: list[Candidate]) -> None:
        largest, self._largest = self._largest, min(2 * self._largest, _LARGEST_BATCH)
        until = time.monotonic() + _BATCH_SECONDS
        room = _LARGEST_BATCH_BYTES
        for lead in self._found:
            one = candidate(lead, self._destination)
            batch.append(one)
            room -= len(one.body or b"")
            if len(batch) == largest or room < 0 or time.monotonic() > until:
                break

    def write(self, batch: list[Candidate], lease: timedelta | None) -> tuple[Claimed, ...]:
        """
        Write a batch down.

        :param batch: as `read` gave it
        :param lease: claims what is new in the same write: what goes out at once needs no second
            one for its claim; None leaves it to be claimed
        :return: what was claimed
        """
        enrolment = self._log.enrol(
            self._run,
            self._destination.integration,
            batch,
            self._clock(),
            rule=self._rule,
            lease=lease,
        )
        self.skipped += enrolment.skipped
        return enrolment.claimed

    def finish(self) -> None:
        """Read and write all that is left."""
        while batch := self.read():
            self.write(batch, None)

    def close(self) -> None:
        """Let go of a source that was not read to its end; in the thread that read it."""
        if isinstance(self._found, Generator):
            self._found.close()


class Feeder:
    """
    Enrols while the senders send.

    :param feed: reads what was found and writes it to the log
    :param supply: takes what is claimed in the same write
    :param is_stopping: tells whether Airflow ends the task
    """

    def __init__(self, feed: Feed, supply: Supply, is_stopping: Callable[[], bool]) -> None:
        self._feed = feed
        self._supply = supply
        self._is_stopping = is_stopping
        # One thread reads the source: some databases' connections demand it.
        self._source = ThreadPoolExecutor(1, "zbl-source")

    async def run(self) -> Exception | None:
        """
        Enrol until there is no more.

        :return: what the source or the log raised, to be raised again when the rest is sent
        """
        reading = self._in_source(self._feed.read)
        try:
            while batch := await reading:
                if self._is_stopping():
                    return DispatchStopped()
                reading = self._in_source(self._feed.read)
                lease = await self._supply.spare_lease()
                claimed = await asyncio.to_thread(self._feed.write, batch, lease)
                await self._supply.take_or_release(claimed)
        except Exception as problem:  # noqa: BLE001  raised again when the rest is sent
            return problem
        finally:
            reading.cancel()
            self._supply.end_of_feed()
            self._source.submit(self._feed.close)
        return None

    def shut_down(self, *, wait: bool) -> None:
        """
        Let go of the source.

        :param wait: for the thread that reads it; a query may hang, and what ends the task does
            not wait for that
        """
        self._source.shutdown(wait=wait)

    def _in_source(self, call: Callable[[], _Item]) -> asyncio.Future[_Item]:
        return asyncio.get_running_loop().run_in_executor(self._source, call)
