"""One pass over what is due: claim, send and settle side by side, in one event loop."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from zbl_provider.delivery.exchange import DEADLINE_SECONDS, Failure, FailureKind, Request
from zbl_provider.delivery.outcome import Verdict, classify
from zbl_provider.delivery.transport import Transport
from zbl_provider.dispatch.feeder import Feeder
from zbl_provider.dispatch.loop import (
    first_problem,
    heeding_signals,
    moment,
    new_event_loop,
    seldom_collecting,
)
from zbl_provider.dispatch.outcome_writer import OutcomeWriter
from zbl_provider.dispatch.progress import PROGRESS_SECONDS, Progress
from zbl_provider.dispatch.supply import Supply
from zbl_provider.exceptions import DeliveryLogUnavailable
from zbl_provider.log.awaited import AwaitedLog
from zbl_provider.log.model import OPEN, Settlement

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.guard import Guard
    from zbl_provider.delivery.outcome import Outcome
    from zbl_provider.delivery.schedule import Schedule
    from zbl_provider.dispatch.breaker import Breaker, Change
    from zbl_provider.dispatch.feed import Feed
    from zbl_provider.dispatch.follow import Follow
    from zbl_provider.dispatch.outcome_writer import Observer
    from zbl_provider.log.model import Claimed, Run
    from zbl_provider.log.store import DeliveryLog

logger = logging.getLogger(__name__)

_WATCH_SECONDS = 1.0  # how long a hold or a pause by others may go unnoticed
_FOLLOW_PROGRESS_SECONDS = 60.0


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
    :param tell: told, within a second or so, what the answers have changed for all tasks
    :param follow: of a task that stays; it goes on until its time is over, or until it should
        begin anew: the integration is free again, or its connection was changed (Contract 4.12)
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
        tell: Callable[[Sequence[Change]], None],
        observe: Observer | None = None,
        follow: Follow | None = None,
    ) -> None:
        self._log = log
        self._tell = tell
        self._run = run
        self._destination = destination
        self._guard = guard
        self._schedule = schedule
        self._breaker = breaker
        self._clock = clock
        self._observe = observe
        self._follow = follow
        self._awaited_log = AwaitedLog(log)
        self._supply = Supply(
            log=self._awaited_log,
            run=run,
            destination=destination,
            only_own=only_own,
            breaker=breaker,
            clock=clock,
            is_over=lambda: self._over,
            **({"idle_seconds": _WATCH_SECONDS} if follow else {}),
        )
        self._outcome_writer = OutcomeWriter(
            self._awaited_log, run, breaker, destination.max_concurrency, observe
        )
        self._task: asyncio.Task[None] | None = None
        self._interruption: BaseException | None = None
        self._stopping = False
        self._begins_anew = False
        self._progress = Progress(every=_FOLLOW_PROGRESS_SECONDS if follow else PROGRESS_SECONDS)

    def run(self, feed: Feed) -> None:
        """
        Drain, and enrol at the same time.

        :param feed: reads what was found and writes it to the log; what it raises is raised
            again once everything that is in the log has been sent
        """
        ended = False
        feeder = Feeder(
            feed,
            self._awaited_log,
            self._supply,
            lambda: self._stopping,
            self._follow,
            lambda: self._begins_anew,
        )
        runner = asyncio.Runner(loop_factory=new_event_loop)
        with seldom_collecting(), heeding_signals(self._interrupt), runner:
            try:
                runner.run(self._drain(feeder))
                ended = self._interruption is None
            except BaseExceptionGroup as group:
                # A call of the log that was to wait no more may have failed for that very reason.
                raise self._interruption or first_problem(group) from None
            except asyncio.CancelledError:
                raise self._interruption or asyncio.CancelledError from None
            finally:
                feeder.shut_down(wait=ended)
        if self._interruption:
            raise self._interruption  # it came as the last lead was settled

    def stop(self) -> None:
        """Send nothing more, but settle what is in flight; may be called by a signal's handler."""
        self._stopping = True

    @property
    def _over(self) -> bool:
        """Whether nothing more is to be sent, though more may be found."""
        followed = self._follow is not None and not self._supply.fed
        ending = self._stopping or self._interruption is not None or self._begins_anew
        return ending or self._breaker.open or followed

    async def _drain(self, feeder: Feeder) -> None:
        self._task = asyncio.current_task()
        if self._interruption:
            raise asyncio.CancelledError  # it came before there was anything to cancel
        async with self._awaited_log, Transport(self._destination, self._guard) as transport:
            try:
                async with asyncio.TaskGroup() as tasks:
                    enrolment = tasks.create_task(feeder.run())
                    tasks.create_task(self._outcome_writer.run(self._settled))
                    watches = [
                        tasks.create_task(self._watch()),
                        tasks.create_task(self._tell_people()),
                    ]
                    await tasks.create_task(self._claim_and_send(transport))
                    if self._follow:
                        await asyncio.wait([enrolment])  # it looks on while nothing may be sent
                    for watch in watches:
                        watch.cancel()
            finally:
                self._give_back()
        self._progress.close()
        if problem := enrolment.result():
            raise problem

    def _interrupt(self, reason: BaseException) -> None:
        """End for what a signal's handler raised; called by it, in the event loop's thread."""
        if self._interruption is None:
            self._interruption = reason
            self._log.wait_no_more()
            if self._task:
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    async def _watch(self) -> None:
        """Notice what others do to the integration; the leads in hand are given back at once."""
        while not self._over or (self._follow and not self._begins_anew):
            await asyncio.sleep(_WATCH_SECONDS)
            await self._breaker.watch()
            if self._follow:
                self._breaker.probe_again()
                changed = await asyncio.to_thread(self._follow.changed, self._destination)
                self._begins_anew = changed or self._breaker.may_close
                if self._over:
                    self._supply.wake()
        self._supply.wake()

    async def _tell_people(self) -> None:
        """Tell of changes, beside the watch: a notifier may take half a minute for its attempts."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await asyncio.to_thread(self._tell, self._breaker.changes())

    async def _claim_and_send(self, transport: Transport) -> None:
        async with asyncio.TaskGroup() as senders:
            for _ in range(self._destination.max_concurrency):
                senders.create_task(self._send(transport))
            await self._supply.run()
            self._supply.close()
        self._outcome_writer.close()
        # The rest of what was found may take minutes to enrol: others need not wait for that.
        await self._supply.release_unsent()

    async def _send(self, transport: Transport) -> None:
        while (claimed := await self._supply.next()) is not None:
            try:
                while self._log.waiting and not self._over:
                    await moment()  # nothing is sent while the log is away (6.2)
            except asyncio.CancelledError:
                self._supply.put_back(claimed)  # nothing of it was sent
                raise
            if self._over:
                self._supply.put_back(claimed)  # it is given back with the rest
                return
            if not self._breaker.admits(claimed):
                self._supply.refuse(claimed)
                continue
            if claimed.lease_until - self._clock() < timedelta(seconds=1.5 * DEADLINE_SECONDS):
                # Another worker could claim it while it is under way.
                await self._supply.release([claimed])
                continue
            started_at = self._clock()
            self._outcome_writer.sends()
            result = await transport.send(Request(claimed.webhook_id, claimed.body))
            if isinstance(result, Failure) and result.kind is FailureKind.SHORTAGE:
                self._outcome_writer.has_not_sent()
                await self._supply.release([claimed])  # nothing was sent: it is no attempt (2.6)
                continue
            outcome = classify(result, self._destination.retry_statuses)
            settlement = self._settlement(claimed, outcome, started_at)
            self._supply.wake_if_empty()
            await self._outcome_writer.put(settlement)

    def _settlement(self, claimed: Claimed, outcome: Outcome, started_at: datetime) -> Settlement:
        due_at = None
        if outcome.verdict is Verdict.RETRY:
            due_at = self._schedule.next_attempt(claimed.attempt, outcome, self._clock())
        self._breaker.attempted(outcome, due_at, claimed.attempt)
        self._progress.attempted(claimed, outcome, due_at)
        return Settlement(claimed=claimed, outcome=outcome, started_at=started_at, due_at=due_at)

    async def _settled(self, count: int) -> None:
        self._supply.settled(count)
        if self._progress.due:
            counts = await self._awaited_log.call(lambda log: log.counts(self._run))
            self._progress.show(sum(counts.get(status, 0) for status in OPEN))

    def _give_back(self) -> None:
        """
        Leave nothing in hand, however this ends.

        Outcomes that wait to be settled are known, so their leads need not go out again; what was
        claimed and not sent is released, so that nobody waits for its lease to run out. What was
        being sent when this was cancelled is in doubt: it stays under its lease, so that the next
        request for it does not overtake the one that may still be at work there.
        """
        known, unsent = self._outcome_writer.rest(), self._supply.unsent()
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
