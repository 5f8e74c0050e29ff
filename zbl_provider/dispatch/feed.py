"""What a run has found, on its way into the log: read, judged, and written in batches."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from typing import TYPE_CHECKING, NamedTuple

from zbl_provider.dispatch.choice import Choice
from zbl_provider.dispatch.intake import FoundRow, candidate
from zbl_provider.dispatch.seen import CountedOnce, Seen
from zbl_provider.leads import payload
from zbl_provider.log.model import Status

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import datetime, timedelta

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.dispatch.follow import Follow
    from zbl_provider.dispatch.intake import Found
    from zbl_provider.log.model import Candidate, Claimed, Run
    from zbl_provider.log.outbox.decision import Rule
    from zbl_provider.log.store import DeliveryLog

_FIRST_BATCH = 50  # leads of the first write of the log, so that sending begins soon;
_LARGEST_BATCH = 1000  # each further one may have twice as many, up to this,
_LARGEST_BATCH_BYTES = 8 * 2**20  # and hardly more bytes: each rests in memory some times over
_BATCH_SECONDS = 0.1  # how long a lead waits for others to be written with

_JUDGED_AT_ONCE = 20  # leads, in half a millisecond; then others may go on

_MOST_TRUSTED = 10  # batches whose leads are taken for new

_SETTLED = (Status.DELIVERED,)


class Fetched(NamedTuple):
    """
    The next of what was found.

    :param rows: those to judge
    :param settled: ids of leads that earlier runs have delivered
    :param own: ids of leads that this run has delivered
    """

    rows: list[Found]
    settled: list[str]
    own: list[str]


class Feed:
    """
    The leads that one run has found, on their way into the log.

    To read is to wait for a database of any kind, and is called in a thread; to judge is Python's
    work alone, and is called where the senders are. So is writing, where the log can be awaited:
    threads that take turns with Python's lock cost each lead a part of its time.

    :param log: the delivery log
    :param run: the run that found them
    :param destination: the integration with its filters
    :param rule: what to do with leads that are settled already
    :param leads: rows of a query, or leads that are given
    :param clock: gives the present time
    :param follow: of a task that stays: each of its looks is begun by `look_again`, and rows that
        are as they were at the look before are passed over (Contract 4.12)
    """

    def __init__(
        self,
        *,
        log: DeliveryLog,
        run: Run,
        destination: Destination,
        rule: Rule,
        leads: Iterable[Found],
        clock: Callable[[], datetime],
        follow: Follow | None = None,
    ) -> None:
        self._log = log
        self._run = run
        self._destination = destination
        self._rule = rule
        self._clock = clock
        self._follow = follow
        self._seen = Seen()
        self._looks = 0
        self._left = CountedOnce()
        self._left_in_error = CountedOnce()
        self._repeated = 0
        self._begin(leads)
        self._trusted = 0  # for how many batches the log is not asked what was delivered,
        self._trusted_left = 0  # and how many of these are still to come
        self._passed_over = 0  # counted as they are judged,
        self._skipped = 0  # and as they are written, in another thread
        self.failed = 0
        self.failed_since: datetime | None = None

    @property
    def skipped(self) -> int:
        """How many leads an earlier run has settled (Contract 4.4)."""
        return len(self._left) if self._follow else self._passed_over + self._skipped

    @property
    def repeated(self) -> int:
        """How many rows repeated an id, at one look at most (Contract 4.8)."""
        return max(self._repeated, self._choice.repeated)

    def _begin(self, leads: Iterable[Found]) -> None:
        self._leads = iter(leads)
        self._choice = Choice()
        self._fetched = self._read()

    def look_again(self) -> None:
        """Begin to read what the query has now; in the thread that reads."""
        if self._follow:
            self._end()
            self._seen.begin()
            self._looks += 1
            self._begin(self._follow.looks())

    def redirect(self, destination: Destination) -> None:
        """
        Judge by the integration as it is now, and all rows anew if that may change what they are.

        :param destination: as its connection has it
        """
        if destination.filters != self._destination.filters or (
            destination.body != self._destination.body
        ):
            self._seen.forget()
        self._destination = destination

    def read(self) -> Fetched | None:
        """
        Read on; always in the same thread, as some databases demand it.

        :return: what was found next, and nothing where it comes slowly; None when there is no more
        :raises Exception: what the source raised, once all that it gave before has been returned
        """
        return next(self._fetched, None)

    def judge(self, fetched: Fetched | None) -> Iterator[list[Candidate]]:
        """
        Judge what was read, before more is read.

        :param fetched: as `read` gave it
        :return: batches to write; an empty one is a moment in which others may go on
        """
        if fetched is None:
            yield from self._choice.rest(_LARGEST_BATCH)
            self._seen.end()
            return
        self._choice.pass_over(fetched.own)
        self._passed_over += self._choice.pass_over(fetched.settled)
        if self._follow and fetched.settled:
            left = payload.webhook_ids(self._destination.integration, fetched.settled)
            self._left.add(set(left), first_look=self._looks == 1)
        batch: list[Candidate] = []
        room = _LARGEST_BATCH_BYTES
        for place, row in enumerate(fetched.rows, 1):
            judged = candidate(row, self._destination)
            batch.append(judged)
            room -= len(judged.body or b"")
            if room < 0:
                yield self._choice.take(batch)
                batch, room = [], _LARGEST_BATCH_BYTES
            elif place % _JUDGED_AT_ONCE == 0:
                yield []
        if batch:
            yield self._choice.take(batch)
        fetched.rows.clear()  # they are not to rest in memory while the next are fetched

    def _read(self) -> Iterator[Fetched]:
        for rows in self._rows():
            yield self._without_delivered(rows)
            rows.clear()  # nor are those that were passed over

    def _rows(self) -> Iterator[list[Found]]:
        largest = _FIRST_BATCH
        more = True
        while more:
            rows: list[Found] = []
            try:
                more = self._fill(rows, largest)
            except Exception:
                if rows:
                    yield rows
                raise
            largest = min(2 * largest, _LARGEST_BATCH)
            yield rows

    def _fill(self, rows: list[Found], largest: int) -> bool:
        """Fetch the next rows; tell whether there may be more."""
        until = time.monotonic() + _BATCH_SECONDS
        for row in self._leads:
            if not self._follow or not isinstance(row, FoundRow) or self._seen.is_news(row):
                rows.append(row)
            if len(rows) == largest or time.monotonic() > until:
                return True
        return False

    def _without_delivered(self, rows: list[Found]) -> Fetched:
        """
        Leave out what was delivered and stays so, whatever its row holds now (Contract 4.4).

        That is nearly all that a look-back finds, so it costs no more than reading the ids.
        """
        if not rows or not self._rule.passes_over_delivered:
            return Fetched(rows, [], [])
        if self._trusted_left:
            self._trusted_left -= 1
            return Fetched(rows, [], [])
        lead_ids = [row.id for row in rows if row.id is not None]
        webhook_ids = payload.webhook_ids(self._destination.integration, lead_ids)
        unsettled, own = self._log.unsettled(webhook_ids, _SETTLED, self._run)
        # Where all are new the next are likely to be, too; if they are not, enrolment tells.
        all_new = len(unsettled) == len(lead_ids)
        self._trusted = min(2 * self._trusted + 1, _MOST_TRUSTED) if all_new else 0
        self._trusted_left = self._trusted
        if not unsettled and not own and len(lead_ids) == len(rows):
            return Fetched([], lead_ids, [])
        keys = dict(zip(lead_ids, webhook_ids, strict=True))
        delivered = [lead_id for lead_id in lead_ids if keys[lead_id] not in unsettled]
        return Fetched(
            [row for row in rows if row.id is None or keys[row.id] in unsettled],
            [lead_id for lead_id in delivered if keys[lead_id] not in own],
            [lead_id for lead_id in delivered if keys[lead_id] in own],
        )

    def write(
        self, batch: list[Candidate], lease: timedelta | None, log: DeliveryLog
    ) -> tuple[Claimed, ...]:
        """
        Write a batch down.

        :param batch: as `read` gave it
        :param lease: claims what is new in the same write: what goes out at once needs no second
            one for its claim; None leaves it to be claimed
        :param log: the delivery log, for calls from where this is called
        :return: what was claimed
        """
        enrolment = log.enrol(
            self._run,
            self._destination.integration,
            batch,
            self._clock(),
            rule=self._rule,
            lease=lease,
        )
        self._skipped += enrolment.skipped
        self.failed += enrolment.failed
        if self._follow:
            self._left.add(enrolment.left, first_look=self._looks == 1)
            self._left_in_error.add(enrolment.left_in_error, first_look=self._looks == 1)
        if since := enrolment.failed_since:
            self.failed_since = min(since, self.failed_since or since)
        return enrolment.claimed

    def recount(self) -> None:
        """Count what is in error now: a task that stays has met some of it hours ago."""
        if not self._follow:
            return
        met = sorted(self._left_in_error.ids)
        still: list[datetime | None] = []
        for first in range(0, len(met), _LARGEST_BATCH):
            some = met[first : first + _LARGEST_BATCH]
            changed, own = self._log.unsettled(some, (Status.ERROR,), self._run)
            known = self._log.known([key for key in some if key not in changed | own])
            still += [lead.updated_at for lead in known.values() if lead.status is Status.ERROR]
        self.failed, self.failed_since = len(still), min(filter(None, still), default=None)

    def finish(self) -> None:
        """Read and write all that is left; of a query that is followed, what it has now."""
        self.look_again()
        for batch in self.batches():
            self.write(batch, None, self._log)
        if self._follow:
            self.close()  # other threads look on

    def batches(self) -> Iterator[list[Candidate]]:
        """Read and judge all that is left, in one thread; give what is to be written."""
        more = True
        while more:
            fetched = self.read()
            more = fetched is not None
            yield from filter(None, self.judge(fetched))

    def close(self) -> None:
        """Let go of a source that was not read to its end; in the thread that read it."""
        self._end()
        if self._follow:
            self._follow.looks.close()

    def _end(self) -> None:
        self._repeated = self.repeated
        self._choice.close()
        if isinstance(self._leads, Generator):
            self._leads.close()
