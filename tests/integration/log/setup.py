"""Short words for what the tests of the delivery log do again and again."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from zbl_provider.delivery.outcome import Outcome, Verdict
from zbl_provider.log.model import Candidate, Run, RunKey, Settlement, Status
from zbl_provider.log.outbox.decision import Rule
from zbl_provider.log.storage import tables

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zbl_provider.log.model import Claimed, Enrolment
    from zbl_provider.log.store import DeliveryLog

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LEASE = timedelta(seconds=60)
ZAPIER = "zapier"


def lead(
    lead_id: str,
    *,
    status: Status = Status.PENDING,
    reason: str | None = None,
    body: bytes | None = None,
    fingerprint: str = "f1",
) -> Candidate:
    """Return a candidate; its body tells its id and fingerprint."""
    if body is None and status is Status.PENDING:
        body = f"{lead_id} {fingerprint}".encode()
    return Candidate(f"msg_{lead_id}", lead_id, status, reason, body, fingerprint)


def delivered(seconds: float = 0.25) -> Outcome:
    """Return the outcome of an attempt that went well."""
    return Outcome(
        verdict=Verdict.DELIVERED,
        status=200,
        kind=None,
        detail="200",
        retry_after=None,
        seconds=seconds,
        excerpt="thanks",
    )


def failed() -> Outcome:
    """Return the outcome of an attempt that got no answer in time."""
    return Outcome(
        verdict=Verdict.RETRY,
        status=None,
        kind="timeout",
        detail="no answer in 10 s",
        retry_after=None,
        seconds=10.0,
        excerpt="",
    )


@dataclass
class Setup:
    """A delivery log with a clock, and a look at its rows."""

    log: DeliveryLog
    now: datetime = NOON

    def later(self, **time: float) -> None:
        self.now += timedelta(**time)

    def run(self, name: str = "run", epoch: int = 0) -> Run:
        return self.log.begin(RunKey("dag", "task", name), ZAPIER, epoch, self.now)

    def enrol(self, run: Run, *leads: Candidate, **options: bool) -> Enrolment:
        return self.log.enrol(run, ZAPIER, leads, self.now, rule=Rule(**options))

    def claim(self, run: Run, limit: int = 100, *, only_own: bool = False) -> list[Claimed]:
        return self.log.claim(ZAPIER, limit, self.now, LEASE, run=run, only_own=only_own)

    def settle(
        self,
        run: Run,
        claimed: Iterable[Claimed],
        outcome: Outcome,
        due_at: datetime | None = None,
    ) -> list[Settlement]:
        return self.log.settle(
            [Settlement(lead, outcome, self.now, due_at) for lead in claimed], run
        )

    def deliver(self, run: Run, *leads: Candidate) -> None:
        self.enrol(run, *leads)
        assert self.settle(run, self.claim(run), delivered()) == []

    def fail(self, run: Run, *leads: Candidate) -> None:
        self.enrol(run, *leads)
        assert self.settle(run, self.claim(run), failed()) == []

    def rows(self, table: Any = tables.delivery) -> list[Any]:
        """Return the table's rows as they rest in the database."""
        with self.log._engine.connect() as connection:
            return list(connection.execute(select(table)))

    def row(self, lead_id: str) -> Any:
        """Return the one row of a lead."""
        [row] = [row for row in self.rows() if row.lead_id == lead_id]
        return row
