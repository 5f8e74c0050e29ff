"""What people see of the delivery log. Light: no database is imported here."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from zbl_provider.log.storage.text import storable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime, timedelta

    from zbl_provider.log.model import RunKey, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """
    Which leads are meant; what is None is not asked for (Contract 8.4).

    :param status: where they stand
    :param integration: the connection id
    :param dag_id: with the next three: the leads of these task instances, enrolled or taken on
    :param task_id: see ``dag_id``
    :param run_id: see ``dag_id``; Airflow's id of the Dag run
    :param map_index: see ``dag_id``
    :param since: enrolled then or later, aware
    :param until: enrolled before, aware
    :param lead_id: the lead's own id, whole
    :param email_hashes: any of these, which ``Reader.email_hashes`` makes of a person's email; the
        email itself stays out of queries
    :param dags: only what these Dags enrolled: those that the person who asks may see
    """

    status: Status | None = None
    integration: str | None = None
    dag_id: str | None = None
    task_id: str | None = None
    run_id: str | None = None
    map_index: int | None = None
    since: datetime | None = None
    until: datetime | None = None
    lead_id: str | None = None
    email_hashes: tuple[int, ...] | None = None
    dags: frozenset[str] | None = None

    def __post_init__(self) -> None:
        # A person may ask for text that no database takes: it is looked up as the log would have
        # written it.
        for name in ("integration", "dag_id", "task_id", "run_id", "lead_id"):
            object.__setattr__(self, name, storable(getattr(self, name)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """
    Where one lead stands with one integration.

    :param delivery_id: its number in the log; newer leads have higher ones
    :param webhook_id: what the receiver knows it by (Contract 2.3)
    :param lead_id: the lead's own id
    :param integration: the connection id
    :param status: its status
    :param reason: why it is not delivered, without personal data
    :param attempts: made since it was last reopened
    :param resend: how often it was reopened
    :param last_status: HTTP status code of the last answer; None if there was none
    :param last_kind: why there was none, such as ``timeout``
    :param due_at: when it is to be sent next; None unless it waits
    :param created_at: when it was enrolled
    :param updated_at: when it changed last
    :param delivered_at: when it was delivered
    :param run: the task instance that first enrolled it
    """

    delivery_id: int
    webhook_id: str
    lead_id: str
    integration: str
    status: Status
    reason: str | None
    attempts: int
    resend: int
    last_status: int | None
    last_kind: str | None
    due_at: datetime | None
    created_at: datetime
    updated_at: datetime
    delivered_at: datetime | None
    run: RunKey


@dataclass(frozen=True, slots=True)
class Page:
    """
    Some rows, the newest first.

    :param rows: at most as many as were asked for
    :param next: pass it as ``before`` for the next page; None when there is none
    """

    rows: tuple[Row, ...]
    next: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """
    One attempt at a lead (Contract 6.3).

    :param number: from 1, in each set of attempts
    :param resend: which set of attempts: 0 for the first
    :param started_at: when it began
    :param duration_ms: how long it took, in milliseconds
    :param status_code: of the answer; None if there was none
    :param kind: why there was none, such as ``timeout``
    :param detail: how it ended, in words, without a secret
    :param excerpt: the start of the answer's body, as text; None when there is none to show
    :param run: the task instance that made it
    """

    number: int
    resend: int
    started_at: datetime
    duration_ms: int
    status_code: int | None
    kind: str | None
    detail: str | None
    excerpt: str | None = field(repr=False)
    run: RunKey


@dataclass(frozen=True, slots=True)
class Detail:
    """
    All that is shown of one lead; its payload is personal data, and is not.

    :param row: where it stands
    :param attempts: the first one first
    :param sendable: its payload still rests in the log, so that it can be sent again
    """

    row: Row
    attempts: tuple[Attempt, ...]
    sendable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Bucket:
    """
    The attempts of one stretch of time.

    :param start: when it begins
    :param width: how long it is
    :param delivered: attempts that delivered their lead
    :param failed: attempts that did not
    :param p50_ms: half of the answers took no longer, in milliseconds; None without an answer
    :param p95_ms: nineteen of twenty took no longer
    """

    start: datetime
    width: timedelta
    delivered: int
    failed: int
    p50_ms: int | None
    p95_ms: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Totals:
    """
    What became of one integration's leads.

    :param integration: the connection id
    :param counts: its leads by status; absent means none
    :param p50_ms: half of its answers took no longer, in milliseconds; None without an answer
    :param p95_ms: nineteen of twenty took no longer
    """

    integration: str
    counts: Mapping[Status, int]
    p50_ms: int | None
    p95_ms: int | None


@dataclass(frozen=True, slots=True)
class Hastened:
    """
    What a step of "send now" did (Contract 3.5).

    :param count: leads that are due now
    :param runs: the task instances that wait for them: clear these, and they are sent at once
    :param after: where the next step goes on; None when all is done
    :param integrations: theirs, which something may keep back all the same
    """

    count: int
    runs: tuple[RunKey, ...]
    after: int | None
    integrations: frozenset[str] = field(default=frozenset(), compare=False)


@dataclass(frozen=True, slots=True)
class Resent:
    """
    What was chosen to be sent again.

    :param count: leads that have a new set of attempts, due now
    :param unsendable: leads meant that cannot be sent: the log no longer has their payload
    :param runs: the task instances to clear, so that they are sent at once
    :param integrations: theirs, which something may keep back all the same
    """

    count: int
    unsendable: int
    runs: tuple[RunKey, ...]
    integrations: frozenset[str] = field(default=frozenset(), compare=False)
