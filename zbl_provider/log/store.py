"""The delivery log: enrol, claim, settle, and what is left to do."""

from __future__ import annotations

from contextlib import asynccontextmanager
from copy import copy
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError

from zbl_provider.driver_errors import sqlstate, told
from zbl_provider.exceptions import DeliveryLogError, DeliveryLogFault
from zbl_provider.log.browse.reader import Reader
from zbl_provider.log.model import Enrolment
from zbl_provider.log.outbox import claim, holds, outage, resend, runs, settle, standing
from zbl_provider.log.outbox.claim import Lease
from zbl_provider.log.outbox.decision import Rule
from zbl_provider.log.outbox.enrol import Enroller
from zbl_provider.log.storage import migrate
from zbl_provider.log.storage.cipher import Seal
from zbl_provider.log.storage.email_hash import EmailHasher
from zbl_provider.log.storage.engine import (
    FIELD,
    name_of,
    open_async_engine,
    open_engine,
    reading,
    wipe_journal,
    writing_at_once,
)
from zbl_provider.log.storage.retry import Retry, retried
from zbl_provider.log.upkeep import erasure, retention, rotation

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from sqlalchemy import URL
    from sqlalchemy.ext.asyncio import AsyncEngine

    from zbl_provider.log.browse.model import Hastened, Query, Resent
    from zbl_provider.log.model import (
        Candidate,
        Claimed,
        Delivery,
        Erased,
        Failed,
        Integration,
        Outage,
        Reopened,
        Rotated,
        Run,
        RunKey,
        Settlement,
        Status,
        TaskTry,
    )
    from zbl_provider.log.outbox.decision import Known
    from zbl_provider.log.outbox.standing import Unsettled
    from zbl_provider.log.storage.cipher import Cipher
    from zbl_provider.log.storage.engine import Limits


_FIRST_COME = Rule()
_NONE = timedelta(0)
# Of PostgreSQL: a right that is missing, and a schema that is not there or may not be used.
_WITHOUT_RIGHTS = frozenset({"42501", "3F000"})


class DeliveryLog:
    """
    The outbox (Contract 6): what is in it is sent, whoever dies.

    Each method is one transaction, and may be called from any thread. All times are aware. While
    the database is away, restarted, locked or full, a method waits for it as long as ``retry_for``
    says, and then raises DeliveryLogUnavailable. ``reader`` answers what people ask, and does not
    wait.

    :param url: an SQLite file, or a PostgreSQL database
    :param cipher: encrypts payloads at rest, as a Fernet does; None leaves them readable
    :param keys: that the cipher is made of, the one that encrypts first: what emails are hashed
        with comes from them (Contract 8.8). A cipher without them finds nobody by email
    :param retry_for: how long a call is repeated while the database cannot be used
    :param limits: of each call, where nobody else may be kept waiting (Contract 7.5)
    :raises DeliveryLogError: another kind of database (Contract 6.1)
    """

    def __init__(
        self,
        url: str | URL,
        *,
        cipher: Cipher | None = None,
        keys: Sequence[bytes] = (),
        retry_for: timedelta = _NONE,
        limits: Limits | None = None,
    ) -> None:
        self._engine = open_engine(url, limits)
        self._retry = Retry(name_of(self._engine.url), retry_for)
        self._seal = Seal(cipher)
        self._hasher = EmailHasher(keys if keys or cipher is None else None)
        self._at_once = Retry(name_of(self._engine.url), _NONE)
        self._async_engines: list[AsyncEngine] = []  # that no event loop uses
        self.reader = Reader(self._engine, self._seal, self._hasher)

    def upgrade(self) -> None:
        """
        Create or upgrade the log's tables; safe from many processes at once.

        Nothing is in hand yet: a database that is away is left to Airflow's retries at once.

        :raises DeliveryLogError: this database cannot hold the log (Contract 6.1)
        :raises DeliveryLogUnavailable: it is away, locked or full
        """
        try:
            self._at_once.call(lambda: migrate.upgrade(self._engine))
        except DBAPIError as problem:
            # Its own text may show a row, so it must not be the context of what is shown either.
            refusal = told(problem.orig or problem, problem.statement or "")
            needs_a_person = sqlstate(problem.orig or problem) in _WITHOUT_RIGHTS
        else:
            return
        if needs_a_person:
            raise DeliveryLogError(
                FIELD,
                f"its database does not let this connection keep the log: {refusal}",
                "Let its user create and use tables in the first schema of its search_path",
            )
        raise DeliveryLogFault(log=self.name, problem=refusal)

    def ping(self) -> None:
        """
        Ask the database for the least that there is.

        :raises DeliveryLogUnavailable: it does not answer
        """

        def ask() -> None:
            with reading(self._engine) as connection:
                connection.execute(select(1))

        self._at_once.call(ask)

    def clock(self) -> datetime:
        """Return the time of the database's own clock, aware; of an SQLite file this machine's."""
        with reading(self._engine) as connection:
            if connection.dialect.name == "sqlite":
                return datetime.now(UTC)
            now: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
            return now.astimezone(UTC)

    @property
    def name(self) -> str:
        """What to call its database before people; no secret."""
        return name_of(self._engine.url)

    @property
    def encrypts(self) -> bool:
        """Whether what is written from now on is encrypted (Contract 6.4)."""
        return self._seal.encrypts

    @property
    def waiting(self) -> bool:
        """Whether a call waits for the database now, so that nothing more can be recorded."""
        return self._retry.waiting

    def wait_no_more(self) -> None:
        """End the waiting of all calls, these and later ones; each is still tried once."""
        self._retry.end()

    def close(self) -> None:
        """Close all connections; the log opens new ones when it is used again."""
        self._engine.dispose()

    @asynccontextmanager
    async def in_event_loop(self) -> AsyncIterator[DeliveryLog | None]:
        """
        Give this log for calls that SQLAlchemy's greenlets make in one event loop, each tried once.

        :return: None for an SQLite file, for which nobody can wait that way
        """
        # Used again, for the statements that it has compiled.
        spare = self._async_engines
        engine = spare.pop() if spare else open_async_engine(self._engine)
        if engine is None:
            yield None
            return
        here = copy(self)
        here._engine = engine.sync_engine  # noqa: SLF001  of the same class
        here._retry = self._at_once  # noqa: SLF001
        try:
            yield here
        finally:
            await engine.dispose()
            spare.append(engine)

    @retried
    def begin(
        self,
        run: RunKey,
        integration: str,
        epoch: int,
        now: datetime,
        task_try: TaskTry | None = None,
    ) -> Run:
        """
        Return the run of a task instance, known or new.

        :param run: the task instance
        :param integration: the connection id; a task whose connection has been changed begins anew
        :param epoch: Airflow's ``max_tries``; when it changes, the task instance was cleared
        :param now: the present time
        :param task_try: the try that runs now; shows those clears, too, that leave the epoch as it
            was (Contract 4.10)
        :return: ``cleared`` until ``reopen`` has acted on this clear (Contract 4.5)
        """
        with self._engine.begin() as connection:
            return runs.begin(connection, run, integration, epoch, now, task_try)

    @retried
    def end(self, run: Run, now: datetime) -> None:
        """
        Note that the task is told now how its run ended: what comes after that is a clear (4.10).

        :param run: the run, as ``begin`` returned it
        :param now: the present time
        """
        with self._engine.begin() as connection:
            runs.end(connection, run, now)

    @retried
    def enrol(
        self,
        run: Run,
        integration: str,
        candidates: Sequence[Candidate],
        now: datetime,
        *,
        rule: Rule = _FIRST_COME,
        lease: timedelta | None = None,
    ) -> Enrolment:
        """
        Write found leads down before any of them is sent (Contract 6.2).

        :param run: the run that found them
        :param integration: the connection id they are to be sent with
        :param candidates: some hundreds at a time; of two with one id the first counts
        :param now: the present time
        :param rule: what to do with leads that are settled already; they are left alone by default
        :param lease: claim what is new in the same write, for this long; None leaves it to others
        :return: what became of them, counted
        """
        if not candidates:
            return Enrolment()
        held = None if lease is None else Lease.begin(now, lease)
        with self._engine.begin() as connection:
            enroller = Enroller(connection, self._seal, self._hasher, run.id, now, held)
            return enroller.enrol(integration, candidates, rule)

    @retried
    def reopen(
        self,
        run: Run,
        epoch: int,
        now: datetime,
        *,
        everything: bool = False,
        webhook_ids: Collection[str] | None = None,
    ) -> Reopened:
        """
        Act on a clear, once: the run's leads in error get new attempts.

        Where the clear means leads that were chosen before (``resend``), these have been opened
        again already, and no others are.

        :param run: the run that was cleared, as ``begin`` returned it
        :param epoch: the epoch that ``begin`` was given
        :param now: the present time
        :param everything: those delivered are sent again, too (Contract 4.5)
        :param webhook_ids: of those delivered just these; None means all
        :return: how many are sent again, and how many cannot be
        """
        with self._engine.begin() as connection:
            return runs.reopen(
                connection, run, epoch, now, everything=everything, webhook_ids=webhook_ids
            )

    def resend(
        self,
        chosen: Query | Collection[int],
        now: datetime,
        *,
        limit: int = 10_000,
        dags: Collection[str] | None = None,
    ) -> Resent:
        """
        Give chosen leads a new set of attempts, and have the clear that follows send just those.

        Clear the task instances that come back, with the rights of whoever asked (Contract 8.4).
        Where one cannot be cleared, call ``forget_choice``: the integration's next run sends its
        leads all the same (Contract 4.6).

        :param chosen: numbers of leads in ``error`` or ``delivered``; or a query, of whose leads
            those in ``error`` are meant
        :param now: the present time
        :param limit: how many at most, the first enrolled first; call again until none are left
        :param dags: those whose task instances whoever asks may clear, that of each lead among
            them; None is all
        :return: how many, how many cannot be sent any more, and the task instances to clear
        """

        def choose() -> Resent:
            with self._engine.begin() as connection:
                return resend.resend(connection, chosen, now, limit, dags)

        # Not repeated: what it has opened again it would not find, nor name its runs, once more.
        return self._at_once.call(choose)

    @retried
    def count_waiting(self, query: Query) -> int:
        """Return how many leads ``send_now`` would have due now for a query (Contract 3.5)."""
        with reading(self._engine) as connection:
            return resend.count_waiting(connection, query)

    @retried
    def resendable(self, query: Query) -> int:
        """Return how many leads ``resend`` would send again for a query (Contract 8.4)."""
        with reading(self._engine) as connection:
            return resend.resendable(connection, query)

    @retried
    def forget_choice(self, keys: Collection[RunKey], now: datetime) -> None:
        """
        Have the next clear of task instances mean all their leads in error, as it does.

        :param keys: the task instances that were not cleared; what they have due goes out with the
            next task of its integration (Contract 4.11)
        :param now: the present time
        """
        with self._engine.begin() as connection:
            resend.forget_choice(connection, keys, now)

    @retried
    def send_now(
        self,
        chosen: Query | Collection[int],
        now: datetime,
        *,
        limit: int = 10_000,
        after: int = 0,
        dags: Collection[str] | None = None,
    ) -> Hastened:
        """
        Have leads that wait for an attempt be due now; those made still count (Contract 3.5).

        Clear the task instances that come back, as with ``resend``: they send these leads at once.

        :param chosen: numbers of leads that are ``pending`` or ``retrying``, or a query that finds
            them; others are left alone
        :param now: the present time
        :param limit: how many at most, the first enrolled first
        :param after: what the step before returned; 0 begins anew
        :param dags: see ``resend``
        :return: how many, the task instances to clear, and where to go on
        """
        with self._engine.begin() as connection:
            return resend.send_now(connection, chosen, now, limit, after, dags)

    @retried
    def forget_invalid(self, run: Run, now: datetime) -> None:
        """
        Have a cleared run fail no more for invalid leads that its query does not find again.

        :param run: the run that was cleared; those it finds again become invalid again
        :param now: the present time
        """
        with self._engine.begin() as connection:
            runs.forget_invalid(connection, run.id, now)

    @retried
    def claim(
        self,
        integration: str,
        limit: int,
        now: datetime,
        lease: timedelta,
        *,
        run: Run,
        only_own: bool = False,
        probe: bool = False,
        retries_only: bool = False,
    ) -> list[Claimed]:
        """
        Take leads that are due, so that nobody else has them until the lease runs out.

        A lead whose payload cannot be had is settled as an error on the way. Of an integration that
        is held nothing is given out, and of one that is paused one lead at a time, as a probe.

        :param integration: the connection id
        :param limit: how many at most
        :param now: the present time
        :param lease: how long nobody else may claim them
        :param run: the run that sends them; from now on they are its own, too
        :param only_own: leave alone what is not the run's own already (Contract 4.6), but for what
            was due so long ago that its own task does not come (Contract 4.11)
        :param probe: should the integration be paused, or down with no lead left that was tried,
            take one lead to try it with (Contract 8.6 and 8.7)
        :param retries_only: take leads alone that were tried, as of one that is down (Contract 8.7)
        :return: the leads, the longest due first as far as ``limit`` chooses
        """
        held = Lease.begin(now, lease)
        with self._engine.begin() as connection:
            rows = claim.claim(
                connection,
                integration=integration,
                run_id=run.id,
                lease=held,
                limit=limit,
                now=now,
                only_own=only_own,
                probe=probe,
                retries_only=retries_only,
            )
        claimed, unreadable = claim.read(rows, self._seal, held)
        if unreadable:
            with self._engine.begin() as connection:
                claim.give_up(connection, unreadable, held.token, now)
        return claimed

    @retried
    def settle(self, settlements: Sequence[Settlement], run: Run) -> list[Settlement]:
        """
        Record attempts and what became of their leads (Contract 6.3).

        :param settlements: attempts made under claims of this log
        :param run: the run that made them
        :return: those that were not written, since another worker has claimed their lead
        """
        if not settlements:
            return []
        with writing_at_once(self._engine) as connection:
            return settle.settle(connection, settlements, run.id, self._seal)

    @retried
    def release(self, claimed: Sequence[Claimed], now: datetime) -> None:
        """
        Give back leads that were claimed and not sent; they are due at once.

        :param claimed: what ``claim`` returned
        :param now: the present time
        """
        if claimed:
            with self._engine.begin() as connection:
                claim.release(connection, claimed, now)

    @retried
    def counts(self, run: Run) -> dict[Status, int]:
        """Return how many of the run's own leads have which status; absent means none."""
        with reading(self._engine) as connection:
            return runs.counts(connection, run.id)

    @retried
    def untried(self, run: Run, now: datetime) -> int:
        """
        Return how many of the run's own leads wait for their first attempt (Contract 8.7).

        Those that a lost worker was about to try are among them once its lease is over.

        :param run: the run
        :param now: the present time
        """
        with reading(self._engine) as connection:
            return runs.untried(connection, run.id, now)

    @retried
    def first_failed(self, run: Run, limit: int = 10) -> list[Failed]:
        """Return the first of the run's own leads in ``error`` or ``invalid`` (Contract 4.7)."""
        with reading(self._engine) as connection:
            return runs.first_failed(connection, run.id, limit)

    @retried
    def next_due(self, run: Run) -> datetime | None:
        """Return when the first of the run's own unsettled leads needs somebody, if any does."""
        with reading(self._engine) as connection:
            return runs.next_due(connection, run.id)

    @retried
    def find(self, webhook_id: str) -> Delivery | None:
        """Return where one lead stands with one integration; None if it was never enrolled."""
        with reading(self._engine) as connection:
            return runs.find(connection, webhook_id)

    @retried
    def known(self, webhook_ids: Collection[str]) -> dict[str, Known]:
        """
        Return what the log knows of leads, as a new run would find them; nothing is changed.

        :param webhook_ids: any number
        :return: by webhook id; what was never enrolled is absent, and of what a purge has left only
            the id it is said that it was delivered, or erased (Contract 6.4)
        """
        with reading(self._engine) as connection:
            return standing.known(connection, webhook_ids)

    @retried
    def unsettled(
        self,
        webhook_ids: Collection[str],
        statuses: tuple[Status, ...],
        run: Run | None = None,
    ) -> Unsettled:
        """
        Return those leads of which more than the id has to be known; nothing is changed.

        It costs a tenth of `known`, for queries that find the same leads again and again.

        :param webhook_ids: some hundreds
        :param statuses: those at which a lead counts as settled; an erased one does so at any
        :param run: whose own leads are told from others
        """
        with reading(self._engine) as connection:
            run_id = None if run is None else run.id
            return standing.unsettled(connection, webhook_ids, statuses, run_id)

    @retried
    def overdue(self, integration: str, before: datetime, now: datetime) -> int:
        """
        Count leads that should have gone out, and that nobody is about to send (Contract 4.6).

        :param integration: the connection id
        :param before: counted are leads that were due before, aware
        :param now: the present time, aware
        :return: at most 1,000; none while the integration is held or paused, or while a task sends
            to it
        """
        with reading(self._engine) as connection:
            return standing.overdue(connection, integration, before, now)

    @retried
    def purge_payloads(self, now: datetime, older_than: timedelta, limit: int = 10_000) -> int:
        """
        Clear the personal data of leads delivered long ago (Contract 6.4).

        :param now: the present time
        :param older_than: how long a resend may need it after the delivery
        :param limit: how many at most
        :return: how many were cleared; when it is ``limit``, there may be more
        """
        with self._engine.begin() as connection:
            return retention.purge_payloads(connection, now - older_than, limit)

    @retried
    def purge_rows(self, now: datetime, older_than: timedelta, limit: int = 10_000) -> int:
        """
        Delete leads that were settled long ago; of those delivered the id stays (Contract 6.4).

        :param now: the present time
        :param older_than: how long a settled lead stays in the log
        :param limit: how many at most
        :return: how many were deleted; when it is ``limit``, there may be more
        """
        with self._engine.begin() as connection:
            deleted = retention.purge_rows(connection, now - older_than, limit)
        with self._engine.begin() as connection:
            retention.purge_runs(connection, now - older_than, limit)
        return deleted

    @retried
    def integrations(self) -> list[Integration]:
        """Return every integration that the log has seen or that somebody has held, by name."""
        with reading(self._engine) as connection:
            return holds.every(connection)

    @retried
    def integration(self, name: str) -> Integration:
        """Return what the log knows of one integration; nothing keeps back one it does not know."""
        with reading(self._engine) as connection:
            return holds.find(connection, name)

    @retried
    def hold(self, name: str, by: str, now: datetime) -> None:
        """
        Hold an integration: its leads are recorded, and go out when it is resumed (Contract 8.4).

        :param name: the connection id; the log need not know it yet
        :param by: who holds it; who held it before stays named
        :param now: the present time
        """
        with self._engine.begin() as connection:
            holds.hold(connection, name, by, now)

    @retried
    def resume(self, name: str) -> None:
        """
        End whatever keeps an integration's leads back: a hold, a pause, an outage (8.4 to 8.7).

        :param name: the connection id
        """
        with self._engine.begin() as connection:
            holds.resume(connection, name)

    @retried
    def pause(self, name: str, status: int, now: datetime) -> bool:
        """
        Pause an integration that answers nothing but one configuration error (Contract 8.6).

        :param name: the connection id
        :param status: the HTTP status of that answer
        :param now: the present time
        :return: whether it was this call that paused it
        """
        with self._engine.begin() as connection:
            return holds.pause(connection, name, status, now)

    @retried
    def back(self, name: str) -> bool:
        """
        End a pause and an outage, since a lead was delivered; a hold stays (Contract 8.6 and 8.7).

        :param name: the connection id
        :return: whether people are to be told: it was paused or down until this call, or until a
            person resumed it
        """
        with self._engine.begin() as connection:
            return holds.back(connection, name)

    @retried
    def note_failures(
        self, name: str, failures: int, since: datetime | None, *, goes_on: bool = False
    ) -> Integration:
        """
        Remember how many leads in a row have failed, so that other tasks count on (8.7).

        :param name: the connection id; of one that is down nothing is counted
        :param failures: leads in a row without an answer or with 5xx
        :param since: when the first of them failed
        :param goes_on: they go on the row that the log counts; if not, they are all of it
        :return: what the log knows of the integration now
        """
        with self._engine.begin() as connection:
            return outage.note_failures(connection, name, failures, since, goes_on=goes_on)

    @retried
    def begin_outage(self, name: str, since: datetime, reason: str, now: datetime) -> bool:
        """
        Note that a destination is down: no first attempt is made any more (Contract 8.7).

        :param name: the connection id
        :param since: when the first lead in the row failed; if one was delivered after that, the
            destination is not down
        :param reason: its last answer, in words
        :param now: the present time
        :return: whether it was this call that noted it
        """
        with self._engine.begin() as connection:
            return outage.begin(connection, name, since, reason, now)

    @retried
    def lift_outage(self, name: str) -> None:
        """
        Have all leads tried again, though none was delivered: `[zbl] outage_breaker` is off (8.7).

        :param name: the connection id
        """
        with self._engine.begin() as connection:
            outage.lift(connection, name)

    @retried
    def outage(self, name: str, now: datetime) -> Outage | None:
        """
        Return how a destination is down, for whoever asks (Contract 8.7).

        :param name: the connection id
        :param now: the present time
        :return: None when it is not
        """
        with reading(self._engine) as connection:
            return outage.find(connection, name, now)

    @retried
    def erase(self, lead_id: str, now: datetime) -> Erased:
        """
        Forget a person on request, at all integrations; the lead is not sent again.

        :param lead_id: the lead's own id
        :param now: the present time
        :return: what was removed; rows in flight are left, and counted
        """
        with self._engine.begin() as connection:
            erased = erasure.erase(connection, lead_id, now)
        wipe_journal(self._engine)
        return erased

    @retried
    def rotate(self, limit: int = 1000, *, after: int = 0) -> Rotated:
        """
        Encrypt what rests with the present key, a bounded step, so that an old one can go (6.4).

        What rests readable, since there was no key at the time, is encrypted, too, and emails are
        hashed anew (Contract 8.8). Any step may be done again.

        :param limit: how many leads at most
        :param after: what the step before returned; 0 begins anew
        :return: what was done, and where to go on
        """
        with self._engine.begin() as connection:
            return rotation.rotate(connection, self._seal, self._hasher, after, limit)
