"""One pass over what is due: claim, send and settle side by side, in one event loop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import math
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from zbl_provider.delivery.exchange import DEADLINE_SECONDS, Failure, FailureKind
from zbl_provider.delivery.outcome import Verdict, classify
from zbl_provider.delivery.transport import Request, Transport
from zbl_provider.dispatch.outcome_writer import Settler
from zbl_provider.dispatch.progress import Progress
from zbl_provider.exceptions import DeliveryLogUnavailable, DispatchStopped
from zbl_provider.log.model import OPEN, Settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.guard import Guard
    from zbl_provider.delivery.outcome import Outcome
    from zbl_provider.delivery.schedule import Schedule
    from zbl_provider.dispatch.breaker import Breaker
    from zbl_provider.dispatch.feeder import Enrolling
    from zbl_provider.dispatch.outcome_writer import Observer
    from zbl_provider.log.model import Claimed, Run
    from zbl_provider.log.store import DeliveryLog

logger = logging.getLogger(__name__)

_Item = TypeVar("_Item")
_LEASE_SECONDS = 60.0
_LARGEST_CLAIM = 500
_SHORT_SUPPLY_SECONDS, _LONG_SUPPLY_SECONDS = 1, 5  # how long one claim keeps the senders busy
_MOMENT_SECONDS = 0.05
_POLL_SECONDS = 0.25
_WATCH_SECONDS = 1.0  # how long a hold or a pause by others may go unnoticed
# How long enrolment waits for the senders before it runs ahead of them: half a second a batch.
_LOOKS, _PAUSE_SECONDS = 50, 0.01
_COLLECTIONS = (50_000, 20, 100)


class Drain:
    """
    Sends what is due for a destination until nothing is due any more.

    :param log: the delivery log
    :param run: the run that claims
    :param destination: where to send, how much at once (``max_concurrency``) and how fast
        (``max_rate``)
    :param guard: which addresses may be reached
    :param schedule: waits between attempts
    :param only_own: claim this run's leads alone
    :param breaker: opens when nothing more may be sent
    :param clock: gives the present time
    :param observe: told of each group of attempts that is settled
    """

    def __init__(
        self,
        *,
        log: DeliveryLog,
        run: Run,
        destination: Destination,
        guard: Guard,
        schedule: Schedule,
        only_own: bool,
        breaker: Breaker,
        clock: Callable[[], datetime],
        observe: Observer | None = None,
    ) -> None:
        self._log = log
        self._run = run
        self._destination = destination
        self._guard = guard
        self._schedule = schedule
        self._only_own = only_own
        self._breaker = breaker
        self._clock = clock
        self._lease = timedelta(seconds=_LEASE_SECONDS + 2 / (destination.max_rate or 1))
        self._ready: asyncio.Queue[Claimed | None] = asyncio.Queue()
        self._settler = Settler(log, run, breaker, lambda: self._in_flight, observe)
        self._observe = observe
        self._changed = asyncio.Event()
        self._enrolling = True
        self._in_flight = 0  # claimed, and neither settled nor released
        self._turn = asyncio.Lock()
        self._next_slot = 0.0
        self._interruption: BaseException | None = None
        self._stopping = False
        self._source = ThreadPoolExecutor(1, "zbl-source")
        self._progress = Progress()

    def run(self, enrolling: Enrolling) -> None:
        """
        Drain, enrolling at the same time.

        :param enrolling: reads what was found and writes it to the log; what it raises is raised
            again once everything that is in the log has been sent
        """
        ended = False
        with _seldom_collecting(), asyncio.Runner(loop_factory=_new_event_loop) as runner:
            try:
                runner.run(self._drain(enrolling))
                ended = True
            except BaseExceptionGroup as group:
                # A call of the log that was to wait no more may have failed for that very reason.
                raise self._interruption or _first(group) from None
            except asyncio.CancelledError:
                raise self._interruption or asyncio.CancelledError from None
            finally:
                # A query may hang: what ends the task does not wait for it.
                self._source.shutdown(wait=ended)

    def stop(self) -> None:
        """Send nothing more, but settle what is in flight; may be called by a signal's handler."""
        self._stopping = True

    @property
    def _over(self) -> bool:
        """Whether nothing more is to be sent, though more may be found."""
        return self._stopping or self._breaker.open

    async def _drain(self, enrolling: Enrolling) -> None:
        self._heed_interruptions()
        async with Transport(self._destination, self._guard) as transport:
            try:
                async with asyncio.TaskGroup() as tasks:
                    enrolment = tasks.create_task(self._enrol(enrolling))
                    tasks.create_task(self._settler.run(self._settled))
                    watch = tasks.create_task(self._watch())
                    await tasks.create_task(self._claim_and_send(transport))
                    watch.cancel()
            finally:
                self._give_back()
        self._progress.close()
        if problem := enrolment.result():
            raise problem

    def _heed_interruptions(self) -> None:
        """
        Stop for what a signal raises, such as the end of the task's `execution_timeout`.

        An event loop only reports it, since a signal comes in the middle of anything.
        """
        task = asyncio.current_task()

        def heed(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            problem = context.get("exception")
            if task is None or problem is None or isinstance(problem, Exception):
                loop.default_exception_handler(context)
            else:
                self._interruption = problem
                self._log.wait_no_more()
                task.cancel()

        asyncio.get_running_loop().set_exception_handler(heed)

    async def _watch(self) -> None:
        """Notice what others do to the integration; the leads in hand are given back at once."""
        while not self._over:
            await asyncio.sleep(_WATCH_SECONDS)
            await self._breaker.watch()
        self._changed.set()

    async def _enrol(self, enrolling: Enrolling) -> Exception | None:
        reading = self._in_source(enrolling.read)
        try:
            while batch := await reading:
                if self._stopping:
                    return DispatchStopped()
                reading = self._in_source(enrolling.read)
                lease = await self._spare_lease()
                await self._take_or_release(await asyncio.to_thread(enrolling.write, batch, lease))
        except Exception as problem:  # noqa: BLE001  raised again when the rest is sent
            return problem
        finally:
            reading.cancel()
            self._enrolling = False
            self._changed.set()
            self._source.submit(enrolling.close)
        return None

    def _in_source(self, call: Callable[[], _Item]) -> asyncio.Future[_Item]:
        """Call in the one thread that reads the source: some databases' connections demand it."""
        return asyncio.get_running_loop().run_in_executor(self._source, call)

    async def _spare_lease(self) -> timedelta | None:
        """Let a batch be claimed as it is enrolled, if the senders can take it soon."""
        if self._destination.max_rate is not None or self._breaker.half_open:
            return None
        for _ in range(_LOOKS):
            if self._over:
                return None
            if self._ready.qsize() < _LARGEST_CLAIM:
                return self._lease
            await asyncio.sleep(_PAUSE_SECONDS)
        return None

    async def _take_or_release(self, claimed: Sequence[Claimed]) -> None:
        if claimed and self._over:
            self._in_flight += len(claimed)
            await self._release(claimed)
        else:
            self._take(claimed)

    def _take(self, claimed: Sequence[Claimed]) -> None:
        self._in_flight += len(claimed)
        for one in claimed:
            self._ready.put_nowait(one)
        self._changed.set()

    async def _claim_and_send(self, transport: Transport) -> None:
        async with asyncio.TaskGroup() as senders:
            for _ in range(self._destination.max_concurrency):
                senders.create_task(self._send(transport))
            await self._claim()
            for _ in range(self._destination.max_concurrency):
                self._ready.put_nowait(None)
        self._settler.close()
        # The rest of what was found may take minutes to enrol: others need not wait for that.
        await self._release_unsent()

    async def _claim(self) -> None:
        """Keep the senders supplied; return when nothing is due and nothing can become due."""
        limit = self._first_limit()
        while not self._over:
            # Looked at before the claim: a lead enrolled or released after it is not overlooked.
            quiet = not self._enrolling and self._in_flight == 0
            self._changed.clear()
            claimed = await asyncio.to_thread(
                self._log.claim,
                self._destination.integration,
                limit,
                self._clock(),
                self._lease,
                run=self._run,
                only_own=self._only_own,
                probe=self._breaker.half_open,
            )
            if claimed:
                self._take(claimed)
                limit = self._next_limit(limit, await self._until_low(limit))
            elif quiet:
                return
            else:
                await self._until_changed()
                if self._enrolling or self._in_flight:
                    # Much can change in a moment, and each look costs a query.
                    await _moment()
                await self._until_low(limit, _SHORT_SUPPLY_SECONDS)

    def _first_limit(self) -> int:
        """Claim no more than can be sent while the lease lasts."""
        rate = self._destination.max_rate
        limit = 2 * self._destination.max_concurrency
        return limit if rate is None else max(1, min(limit, int(5 * rate)))

    async def _until_low(self, limit: int, seconds: float = math.inf) -> float:
        """Wait until most of what was claimed is taken, or for so long; return how long it took."""
        started = time.monotonic()
        while (took := time.monotonic() - started) < seconds and not self._over:
            if self._ready.qsize() <= limit // 4:
                break
            self._changed.clear()
            await self._until_changed()
        return took

    def _next_limit(self, limit: int, took: float) -> int:
        """Claim more at once where the senders are fast, and less where they are slow."""
        if self._destination.max_rate is not None:
            return limit
        if took < _SHORT_SUPPLY_SECONDS:
            return min(2 * limit, max(_LARGEST_CLAIM, self._first_limit()))
        return max(limit // 2, self._first_limit()) if took > _LONG_SUPPLY_SECONDS else limit

    async def _until_changed(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_POLL_SECONDS):
                await self._changed.wait()

    async def _send(self, transport: Transport) -> None:
        while (claimed := await self._next()) is not None:
            await self._until_recordable()
            if self._over:
                self._ready.put_nowait(claimed)  # it is given back with the rest
                return
            if claimed.lease_until - self._clock() < timedelta(seconds=1.5 * DEADLINE_SECONDS):
                # Another worker could claim it while it is under way.
                await self._release([claimed])
                continue
            started_at = self._clock()
            result = await transport.send(Request(claimed.webhook_id, claimed.body))
            if isinstance(result, Failure) and result.kind is FailureKind.SHORTAGE:
                await self._release([claimed])  # nothing was sent: it is no attempt (2.6)
                continue
            outcome = classify(result, self._destination.retry_statuses)
            self._settler.put(self._settlement(claimed, outcome, started_at))
            if self._ready.empty():
                self._changed.set()

    async def _until_recordable(self) -> None:
        """
        Send nothing while the log is away or slow: a death would leave too much in doubt (6.2).

        What was answered and is not settled would be sent again, so there is never much of it.
        """
        while (self._log.waiting or self._settler.slow) and not self._over:
            await _moment()

    async def _next(self) -> Claimed | None:
        """Take a lead; hold `max_rate`: each request takes the next free slot."""
        if (rate := self._destination.max_rate) is None:
            return await self._ready.get()
        # One sender at a time: if each waited for a slot of its own with a lead in its hand, the
        # leases of the last ones would run out before their slots came, over and over.
        async with self._turn:
            if (claimed := await self._ready.get()) is not None and not self._over:
                slot = max(time.monotonic(), self._next_slot)
                self._next_slot = slot + 1 / rate
                await asyncio.sleep(slot - time.monotonic())
            return claimed

    def _settlement(self, claimed: Claimed, outcome: Outcome, started_at: datetime) -> Settlement:
        due_at = None
        if outcome.verdict is Verdict.RETRY:
            due_at = self._schedule.next_attempt(claimed.attempt, outcome, self._clock())
        self._breaker.attempted(outcome, due_at)
        self._progress.attempted(claimed, outcome, due_at)
        return Settlement(claimed=claimed, outcome=outcome, started_at=started_at, due_at=due_at)

    async def _settled(self, count: int) -> None:
        self._in_flight -= count
        self._changed.set()
        if self._progress.due:
            self._progress.show(await asyncio.to_thread(self._left))

    def _left(self) -> int:
        counts = self._log.counts(self._run)
        return sum(counts.get(status, 0) for status in OPEN)

    async def _release(self, claimed: Sequence[Claimed]) -> None:
        await asyncio.to_thread(self._log.release, claimed, self._clock())
        self._in_flight -= len(claimed)
        self._changed.set()

    async def _release_unsent(self) -> None:
        if unsent := self._unsent():
            await self._release(unsent)

    def _unsent(self) -> list[Claimed]:
        unsent = []
        while not self._ready.empty():
            if (one := self._ready.get_nowait()) is not None:
                unsent.append(one)
        return unsent

    def _give_back(self) -> None:
        """
        Leave nothing in hand, however this ends.

        Outcomes that wait to be settled are known, so their leads need not go out again; what was
        claimed and not sent is released, so that nobody waits for its lease to run out.
        """
        known, unsent = self._settler.rest(), self._unsent()
        try:
            try:
                self._log.settle(known, self._run)
                if self._observe:
                    self._observe(known)
            finally:
                self._log.release(unsent, self._clock())
        except DeliveryLogUnavailable as problem:
            # Not raised: what has ended this pass is the reason to tell.
            logger.warning(
                "%d leads that were claimed are free again when their leases run out: %s.",
                len(known) + len(unsent),
                problem,
            )


async def _moment() -> None:
    await asyncio.sleep(_MOMENT_SECONDS)


@contextlib.contextmanager
def _seldom_collecting() -> Iterator[None]:
    """
    Look for garbage in cycles seldom.

    A lead leaves none, but by default Python would look after each few leads, which takes an
    eighth of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    # What failed first is the reason; the other tasks were cancelled because of it.
    problem: BaseException = group
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem


def _new_event_loop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError:  # where uvloop has no build, asyncio's own loop does
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()
