"""
The order of things, and the only file that knows it.

     row ──► Lead ──► Payload ──► filter, schema ──► enrol ─┐            (once per lead)
                                                            ▼
       ┌────────────────────────────── claim (due, leased, fenced) ◄──┐
       ▼                                                              │
     Request ──► transport ──► Answer | Failure ──► Outcome ──► settle ──► defer until the next

All that must survive is in the delivery log: a dispatcher can be killed at any moment, and the next
one goes on from there (Contract 6.2). Nothing here knows Airflow.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from zbl_provider.dispatch.breaker import Breaker
from zbl_provider.dispatch.drain import Drain
from zbl_provider.dispatch.feed import Feed
from zbl_provider.dispatch.report import Report
from zbl_provider.exceptions import IntegrationDown
from zbl_provider.leads import payload
from zbl_provider.log.model import OPEN, Status
from zbl_provider.log.outbox.decision import Rule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.guard import Guard
    from zbl_provider.delivery.schedule import Schedule
    from zbl_provider.dispatch.breaker import Change
    from zbl_provider.dispatch.follow import Follow
    from zbl_provider.dispatch.intake import Found
    from zbl_provider.dispatch.outcome_writer import Observer
    from zbl_provider.log.model import Run, RunKey, TaskTry
    from zbl_provider.log.store import DeliveryLog

logger = logging.getLogger(__name__)

_RECHECK = timedelta(seconds=5)  # while another task holds what this one waits for
_DOWN_RECHECK = timedelta(seconds=10)  # a request takes so long, and the wait is for one


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """
    What an operator decides about its leads.

    :param schedule: waits between attempts (Contract 3.1)
    :param resend_delivered: send again what an earlier run delivered (Contract 4.4)
    :param resend_all: a clear sends delivered leads again, too (Contract 4.5)
    :param wait_for_retries: stay until every lead is settled (Contract 4.7)
    :param only_own: mind this run's leads alone, not all that is due (Contract 4.6)
    :param outages: try no more leads while the destination is down (Contract 8.7)
    """

    schedule: Schedule
    resend_delivered: bool = False
    resend_all: bool = False
    wait_for_retries: bool = True
    only_own: bool = False
    outages: bool = True


def utc_now() -> datetime:
    """Return the present time, aware, in UTC."""
    return datetime.now(UTC)


class Dispatcher:
    """
    Dispatches the leads of a run to one integration.

    :param log: the delivery log
    :param destination: where to send
    :param guard: which addresses may be reached
    :param policy: the operator's decisions
    :param clock: gives the present time; a parameter so that tests can set it
    :param observe: told of each group of attempts that is settled, such as for metrics
    :param tell: told when the integration is down, paused or back, if this task is the first that
        has found it out (Contract 8.7)
    """

    def __init__(
        self,
        *,
        log: DeliveryLog,
        destination: Destination,
        guard: Guard,
        policy: Policy,
        clock: Callable[[], datetime] = utc_now,
        observe: Observer | None = None,
        tell: Callable[[Change], None] | None = None,
    ) -> None:
        self.log = log
        self.destination = destination
        self.guard = guard
        self.policy = policy
        self.clock = clock
        self.observe = observe
        self.tell = tell
        self._run: Run | None = None
        self._draining: Drain | None = None
        self._stopping = False

    def stop(self) -> None:
        """Send nothing more, but settle what is in flight; may be called by a signal's handler."""
        self._stopping = True
        if self._draining:
            self._draining.stop()

    def is_cleared(self, key: RunKey, epoch: int, task_try: TaskTry | None = None) -> bool:
        """
        Tell whether the task was cleared, before `dispatch` acts on it: the parameters are its own.

        Who goes on after a wait has to know: what a clear sends again is found anew first.
        """
        name = self.destination.integration
        return self.log.begin(key, name, epoch, self.clock(), task_try).cleared

    def dispatch(
        self,
        key: RunKey,
        epoch: int,
        leads: Iterable[Found] = (),
        task_try: TaskTry | None = None,
        *,
        resumed: bool = False,
        may_probe: bool = False,
        follow: Follow | None = None,
    ) -> Report:
        """
        Enrol what was found, send all that is due, and say what is left.

        :param key: the Airflow task instance
        :param epoch: Airflow's ``max_tries``; when it changes, the task was cleared (Contract 4.5)
        :param leads: those to enrol; none when the run has enrolled them before
        :param task_try: Airflow's try of the task; shows all other clears (Contract 4.10)
        :param resumed: it goes on after a wait: of a destination that is down it tries no lead that
            was not tried (Contract 8.7)
        :param may_probe: it does all the same, since that is what it waited for
        :param follow: stay, and look again what is to be enrolled; ``leads`` is not read then
            (Contract 4.12)
        :return: where the run stands
        """
        if self.policy.only_own:
            leads = list(leads)
        run = self.log.begin(key, self.destination.integration, epoch, self.clock(), task_try)
        self._run = run
        if run.cleared and not run.chosen:
            self.log.forget_invalid(run, self.clock())
        feed = self._feed(run, leads, follow)
        if run.cleared:
            # The leads get their present payloads before they may go out again: the other way
            # round, another task could resend what the clear was meant to correct.
            feed.finish()
            # A mapped task may have another lead now: the one that it had is sent by its own task.
            lead_ids = [lead.id for lead in leads if lead.id] if self.policy.only_own else None
            self._reopen(run, epoch, lead_ids)
        breaker = self._breaker(may_probe=run.cleared or not resumed or may_probe)
        if follow:
            breaker = self._stay(run, breaker, feed, follow)
        elif not breaker.open:
            self._send(run, breaker, feed)
        else:
            feed.finish()
        report = self._report(run, feed, breaker, may_wait=not (resumed or follow))
        # What is not settled goes out with the next run: this one's time is over.
        return replace(report, due_at=None) if follow else report

    def _breaker(self, *, may_probe: bool) -> Breaker:
        return Breaker(
            self.log,
            self.destination,
            self.clock,
            outages=self.policy.outages,
            may_probe=may_probe,
        )

    def _stay(self, run: Run, breaker: Breaker, feed: Feed, follow: Follow) -> Breaker:
        """
        Send what there is until the task's time is over (Contract 4.12).

        Each round ends when that is so, or when the integration is free again after a hold or a
        pause, or its connection was changed: what comes then is as another run would do it.
        """
        self._send(run, breaker, feed, follow)
        while not follow.over:
            self.destination = follow.read(self.destination)
            feed.redirect(self.destination)
            breaker = self._breaker(may_probe=False)
            self._send(run, breaker, feed, follow)
        return breaker

    def _send(self, run: Run, breaker: Breaker, feed: Feed, follow: Follow | None = None) -> None:
        self._draining = self._drain(run, breaker, follow)
        if self._stopping:
            self._draining.stop()
        try:
            self._draining.run(feed)
        finally:
            self._tell(breaker.changes())
        breaker.look()
        breaker.remember()
        self._tell(breaker.changes())

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if self.tell:
                self.tell(change)

    def end(self) -> None:
        """Note that the task is told how its run ended: what comes after it is a clear (4.10)."""
        if self._run:
            self.log.end(self._run, self.clock())

    def _feed(self, run: Run, leads: Iterable[Found], follow: Follow | None) -> Feed:
        # Whether a clear means all that the run has sent, not just some chosen leads; of one lead
        # it asks for it again, whichever run delivered it (4.5).
        anew = run.cleared and self.policy.resend_all and not run.chosen
        rule = Rule(
            resend_delivered=self.policy.resend_delivered or (anew and self.policy.only_own),
            # Who asks for one lead means it; a query that looks back finds old errors each time.
            resend_errors=self.policy.only_own,
            refresh_delivered=anew,
        )
        return Feed(
            log=self.log,
            run=run,
            destination=self.destination,
            rule=rule,
            leads=leads,
            clock=self.clock,
            follow=follow,
        )

    def _drain(self, run: Run, breaker: Breaker, follow: Follow | None) -> Drain:
        return Drain(
            log=self.log,
            run=run,
            destination=self.destination,
            guard=self.guard,
            schedule=self.policy.schedule,
            only_own=self.policy.only_own,
            breaker=breaker,
            clock=self.clock,
            observe=self.observe,
            tell=self._tell,
            follow=follow,
        )

    def _reopen(self, run: Run, epoch: int, lead_ids: Sequence[str] | None) -> None:
        """Act on a clear; of what was delivered it means all, or just the leads with some ids."""
        name = self.destination.integration
        reopened = self.log.reopen(
            run,
            epoch,
            self.clock(),
            everything=self.policy.resend_all,
            webhook_ids=None if lead_ids is None else payload.webhook_ids(name, lead_ids),
        )
        if run.chosen:
            logger.info(
                "This task was cleared to resend leads chosen in the delivery log: just those are "
                "sent again. Clear it once more for all of its leads in error."
            )
            return
        logger.info(
            "This task was cleared. Leads sent again: %d; leads that waited for their next attempt "
            "and are due now: %d.",
            reopened.reopened,
            reopened.hastened,
        )
        if reopened.unsendable:
            logger.warning(
                "Leads that can't be sent again: %d. The delivery log has cleared their data "
                "([zbl] payload_retention_days), and the query no longer finds them.",
                reopened.unsendable,
            )

    def _report(self, run: Run, feed: Feed, breaker: Breaker, *, may_wait: bool) -> Report:
        counts = self.log.counts(run)
        feed.recount()
        paused = breaker.paused(sum(counts.get(status, 0) for status in OPEN))
        refused = paused and breaker.open
        may_wait = may_wait and self.policy.wait_for_retries
        down = None if paused or breaker.held else self._down(run, breaker, may_wait=may_wait)
        kept_back = self._is_kept_back(run, counts, down, is_held=breaker.held is not None)
        if kept_back:
            due_at = None
        elif refused:
            due_at = breaker.probe_due_at
        elif paused and breaker.turn_at and not self.policy.only_own:
            due_at = max(breaker.turn_at, self.clock() + _RECHECK)
        elif down:
            recheck_at = down.next_at and max(down.next_at, self.clock() + _DOWN_RECHECK)
            due_at = recheck_at or down.probe_at
        else:
            due_at = self._due_at(run, counts, breaker)
        return Report(
            counts=counts,
            skipped=feed.skipped,
            failed_before=feed.failed,
            failed_since=feed.failed_since,
            repeated=feed.repeated,
            held=breaker.held,
            paused=paused,
            down=down,
            kept_back=kept_back,
            due_at=due_at if self.policy.wait_for_retries else None,
            failed=tuple(self.log.first_failed(run)),
        )

    def _down(self, run: Run, breaker: Breaker, *, may_wait: bool) -> IntegrationDown | None:
        """
        Return why leads of the run are not tried, if their destination is down (8.7).

        Another run may have tried it a moment ago. Then this one waits for its turn, once: else
        runs that follow each other at once would have one lead after another end in error.
        """
        waiting = self.log.untried(run, self.clock()) if breaker.down else 0
        if not waiting:
            return None
        outage = self.log.outage(self.destination.integration, self.clock())
        if outage is None:  # somebody has ended it since
            return None
        has_its_turn = may_wait and breaker.outage.probing and outage.next_at is None
        return IntegrationDown(
            self.destination.integration,
            outage.since,
            outage.reason,
            waiting,
            outage.next_at,
            outage.probe_at if has_its_turn else None,
        )

    def _is_kept_back(
        self,
        run: Run,
        counts: Mapping[Status, int],
        down: IntegrationDown | None,
        *,
        is_held: bool,
    ) -> bool:
        """
        Tell whether a single lead has nothing to do but wait for its integration.

        No other task sends it, as the integration's next run sends the leads of a query; and there
        may be ten thousand such tasks, so that they are not to be started just to look.
        """
        if not (self.policy.only_own and self.policy.wait_for_retries):
            return False
        if down:
            # Of a run that had another lead before its clear, that one may be among the tried ones.
            return down.next_at is not None and not counts.get(Status.RETRYING)
        if not (is_held and OPEN & counts.keys()):
            return False
        if not counts.get(Status.SENDING):
            return True
        # Where another task is sending it, the outcome comes soon; what a dead one left, waits.
        now = self.clock()
        return (self.log.next_due(run) or now) <= now

    def _due_at(self, run: Run, counts: Mapping[Status, int], breaker: Breaker) -> datetime | None:
        # The counts decide, since they are what is reported: another task may have settled the last
        # lead since, and then it is they that would tell nobody that it is in error.
        if not OPEN & counts.keys():
            return None
        now = self.clock()
        due_at = self.log.next_due(run) or now
        if breaker.held and not self.policy.only_own:
            return None  # the integration's next run sends what is held
        if counts.get(Status.SENDING) or due_at <= now:
            # Another task has claimed it: the outcome comes long before its lease runs out. Or it
            # was held, and resumed while the query was still being read.
            return now + _RECHECK
        return due_at
