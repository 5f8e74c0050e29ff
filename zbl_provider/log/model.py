"""What the delivery log talks about. Light: a DAG file may import it while it is parsed."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from zbl_provider.delivery.outcome import Verdict

if TYPE_CHECKING:
    from datetime import datetime

    from zbl_provider.delivery.outcome import Outcome


class Status(StrEnum):
    """Where a lead stands with one integration (Contract 6.3)."""

    PENDING = "pending"
    SENDING = "sending"
    RETRYING = "retrying"
    DELIVERED = "delivered"
    ERROR = "error"
    FILTERED = "filtered"
    INVALID = "invalid"


OPEN = frozenset({Status.PENDING, Status.SENDING, Status.RETRYING})
"""Statuses of a lead that still needs somebody; in every other one it is settled."""

WAITING = frozenset({Status.PENDING, Status.RETRYING})
"""Statuses of a lead that waits to be sent, for the first time or again."""

ORPHANED = timedelta(minutes=10)
"""How long after a lead was due its own task may still come; then any task takes it (4.11)."""

PROBE_PAUSE = timedelta(minutes=1)
"""How long a destination that is paused (8.6), or is down with no tried lead left (8.7), is left
alone after one lead was tried in vain."""

FAILED = frozenset({Status.ERROR, Status.INVALID})
"""Statuses that make the task of the lead fail (Contract 4.7)."""


def status_after(outcome: Outcome, due_at: datetime | None) -> Status:
    """
    Return where a lead stands after an attempt: the one rule from outcome to status.

    :param outcome: how the attempt ended
    :param due_at: when the next one is due; None when there is none
    """
    if due_at is not None:
        return Status.RETRYING
    return Status.DELIVERED if outcome.verdict is Verdict.DELIVERED else Status.ERROR


_POSITION = re.compile(r" \(row \d+ of the query\)\Z")


def with_position(reason: str, position: int) -> str:
    """
    Say of a row without an id where it stands.

    :param position: which row of the query it is, counted from 1
    """
    return f"{reason} (row {position} of the query)"


def without_position(reason: str | None) -> str | None:
    """Return a reason as it is wherever its row stands: new rows before it move it on."""
    return reason and _POSITION.sub("", reason)


ERASED = "erased"
"""Fingerprint of a lead that was erased on request: whatever is found for it is not sent."""

ERASED_REASON = "erased on request"


@dataclass(frozen=True, slots=True)
class RunKey:
    """
    The Airflow task instance that minds some leads.

    :param dag_id: its Dag
    :param task_id: its task
    :param run_id: Airflow's id of the Dag run
    :param map_index: its place in a mapped task, -1 when it is not mapped
    """

    dag_id: str
    task_id: str
    run_id: str
    map_index: int = -1

    def as_dict(self) -> dict[str, Any]:
        """Return it under the names that Airflow's REST API, and the log's tables, have."""
        return {
            "dag_id": self.dag_id,
            "task_id": self.task_id,
            "run_id": self.run_id,
            "map_index": self.map_index,
        }


@dataclass(frozen=True, slots=True)
class TaskTry:
    """
    One try of a task instance, in Airflow's words: tells a clear from a retry (Contract 4.10).

    :param id: Airflow's id of the try; the same again when a deferred task resumes
    :param number: of the try, from 1; a run that is deleted and made anew begins again
    :param retries: that the task is allowed now
    :param run_started_at: when Airflow set its Dag run going, aware: anew after a clear of a run
        that was over, and of a run that was made anew; None where Airflow does not say
    :param run_clears: how often tasks of its Dag run were cleared, this one or others
    """

    id: str
    number: int
    retries: int
    run_started_at: datetime | None = None
    run_clears: int = 0


@dataclass(frozen=True, slots=True)
class Run:
    """
    A task instance as the log knows it.

    :param id: its number in the log
    :param cleared: it has been cleared since the log last acted on a clear (Contract 4.5)
    :param chosen: that clear means just the leads that were chosen before it (Contract 8.4)
    :param task_try: the try that runs now; None where Airflow does not say
    """

    id: int
    cleared: bool
    chosen: bool = False
    task_try: TaskTry | None = None


@dataclass(slots=True)  # not frozen, since each lead makes one
class Candidate:
    """
    A found lead with its verdict, to be enrolled.

    :param webhook_id: the same for this lead and integration for ever (Contract 2.3)
    :param lead_id: the lead's own id
    :param status: PENDING to be sent; FILTERED or INVALID to be recorded only
    :param reason: why it is not to be sent
    :param body: the exact bytes to send; None when it is not to be sent
    :param fingerprint: tells whether the lead has changed since it was enrolled
    :param email: of which the log keeps a keyed hash, by which the lead is found (Contract 8.8)
    """

    webhook_id: str
    lead_id: str
    status: Status
    reason: str | None
    body: bytes | None = field(repr=False)
    fingerprint: str
    email: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Enrolment:
    """
    What became of a batch of candidates; each is counted once.

    :param new: first seen by the log
    :param joined: known already, and taken on by this run: unsettled, or to be sent after all
    :param skipped: delivered or failed under another run, which this one leaves alone
    :param failed: those of the skipped ones that are in error
    :param failed_since: since when the first of these is, aware
    :param unchanged: this run's own already, or kept back for the same reason as before
    :param repeated: found a second time in the same batch
    :param claimed: those of the new ones that were claimed in the same write
    :param left: webhook ids of the skipped ones
    :param left_in_error: of the failed ones
    """

    new: int = 0
    joined: int = 0
    skipped: int = 0
    unchanged: int = 0
    repeated: int = 0
    failed: int = 0
    failed_since: datetime | None = None
    claimed: tuple[Claimed, ...] = ()
    left: frozenset[str] = field(default=frozenset(), compare=False, repr=False)
    left_in_error: frozenset[str] = field(default=frozenset(), compare=False, repr=False)


@dataclass(slots=True)  # not frozen, since each lead makes one
class Claimed:
    """
    A lead that this worker alone may send until its lease runs out.

    :param delivery_id: its number in the log
    :param webhook_id: the id the receiver knows it by
    :param lead_id: the lead's own id
    :param body: the exact bytes to send
    :param attempt: the number of the attempt to make, from 1 in each resend
    :param lease_until: when another worker may claim it, aware
    :param claim: the fencing token: whoever holds an older one can no longer settle
    :param resend: how often it was sent anew before; while the claim holds that stays so, as does
        the number of its attempts
    """

    delivery_id: int
    webhook_id: str
    lead_id: str
    body: bytes = field(repr=False)
    attempt: int
    lease_until: datetime
    claim: str
    resend: int = 0


@dataclass(slots=True)  # not frozen, since each lead makes one
class Settlement:
    """
    What became of one attempt, to be written down.

    :param claimed: the claim under which it was made
    :param outcome: how it ended
    :param started_at: when it began, aware
    :param due_at: when to try again, aware; None when this was the last attempt
    """

    claimed: Claimed
    outcome: Outcome
    started_at: datetime
    due_at: datetime | None

    @property
    def status(self) -> Status:
        """Where its lead stands now."""
        return status_after(self.outcome, self.due_at)


@dataclass(frozen=True, slots=True)
class Reopened:
    """
    What a clear has set free (Contract 4.5).

    :param reopened: leads that are sent again
    :param unsendable: leads that cannot be, since their payload has been cleared (Contract 6.4)
    :param hastened: leads that waited for their next attempt, and are due now (Contract 3.5)
    """

    reopened: int
    unsendable: int
    hastened: int = 0


@dataclass(frozen=True, slots=True)
class Failed:
    """
    A lead that makes its task fail (Contract 4.7).

    :param lead_id: the lead's own id
    :param status: ERROR or INVALID
    :param reason: why, without personal data
    """

    lead_id: str
    status: Status
    reason: str | None


@dataclass(frozen=True, slots=True)
class Delivery:
    """
    Where one lead stands with one integration (Contract 4.3).

    :param status: its status
    :param reason: why it is not delivered, without personal data
    :param attempts: made since it was last reopened
    :param last_status: HTTP status code of the last answer; None if there was none
    """

    status: Status
    reason: str | None
    attempts: int
    last_status: int | None


@dataclass(frozen=True, slots=True)
class Integration:
    """
    What keeps an integration's leads back, if anything does (Contract 8.4 and 8.6).

    :param name: its connection id
    :param held_at: when somebody held it, aware
    :param held_by: who did
    :param paused_at: when it was paused for its answers, aware
    :param paused_status: the HTTP status it gave over and over
    :param failures: leads in a row without an answer or with 5xx, while it is not down yet
    :param failing_since: when the first of them failed, aware; of one that is down, since when
    :param down_at: when it was found to be down, aware
    :param down_reason: its last answer then, in words
    :param probed_at: when a lead was last taken to try it with, while it is paused or down, aware
    :param resumed: a person has ended its pause or outage, and no lead was delivered since
    """

    name: str
    held_at: datetime | None = None
    held_by: str | None = None
    paused_at: datetime | None = None
    paused_status: int | None = None
    failures: int = 0
    failing_since: datetime | None = None
    down_at: datetime | None = None
    down_reason: str | None = None
    probed_at: datetime | None = None
    resumed: bool = False

    @property
    def held(self) -> bool:
        """Whether a person holds it."""
        return self.held_at is not None

    @property
    def paused(self) -> bool:
        """Whether it is paused until one lead is delivered, or somebody resumes it."""
        return self.paused_at is not None

    @property
    def is_kept_back(self) -> bool:
        """Whether leads do not go out to it freely."""
        return self.held or self.paused or self.down

    @property
    def probe_at(self) -> datetime | None:
        """When the next lead may be taken to try it with, aware; None when that is at once."""
        return self.probed_at and self.probed_at + PROBE_PAUSE

    @property
    def down(self) -> bool:
        """Whether no first attempt is made until one lead is delivered (Contract 8.7)."""
        return self.down_at is not None


@dataclass(frozen=True, slots=True)
class Outage:
    """
    A destination that is down, as people ask for it (Contract 8.7).

    :param since: when the first lead in the row failed, aware
    :param reason: its last answer, in words
    :param waiting: how many leads wait that were not tried
    :param next_at: when a lead that was tried is tried again, aware; None when none is left, and
        the next run tries one
    :param probe_at: when that run may try it, aware; None when it may do so at once
    """

    since: datetime
    reason: str
    waiting: int
    next_at: datetime | None
    probe_at: datetime | None


@dataclass(frozen=True, slots=True)
class Erased:
    """
    What was removed of one lead, counted.

    :param deliveries: rows that show no longer whose they were, one for each integration
    :param payloads: of these, how many still had the lead's data
    :param attempts: attempts whose answers were removed
    :param in_flight: rows that were left, since a worker is sending them: erase again in a minute
    """

    deliveries: int
    payloads: int
    attempts: int
    in_flight: int


@dataclass(frozen=True, slots=True)
class Rotated:
    """
    What one step of a key rotation did.

    :param renewed: payloads and answers that the present key encrypts now
    :param unreadable: those that no key at hand can read: they are left as they are
    :param after: where the next step goes on; None when all is done
    :param unfindable: leads that are no longer found by email, since their body does not hold it
        as a text of its own (Contract 8.8)
    """

    renewed: int
    unreadable: int
    after: int | None
    unfindable: int = 0
