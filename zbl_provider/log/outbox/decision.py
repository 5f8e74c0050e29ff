"""What enrolling a candidate does to the lead the log already knows. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from typing import TYPE_CHECKING

from zbl_provider.log.model import ERASED, Status, without_position

if TYPE_CHECKING:
    from datetime import datetime

    from zbl_provider.log.model import Candidate


class Change(Enum):
    """What is written over the known lead."""

    NOTHING = auto()
    REFRESH = auto()  # its payload and fingerprint
    OPEN = auto()  # it is to be sent after all
    RESEND = auto()  # it is to be sent once more, with a new set of attempts
    KEEP_BACK = auto()  # it is not to be sent, for this reason


@dataclass(frozen=True, slots=True)
class Known:
    """
    A lead as the log knows it.

    :param own: it is among the run's own already
    :param has_payload: it could be sent as it is
    :param updated_at: when it last changed, aware
    """

    id: int
    status: Status
    reason: str | None
    fingerprint: str
    attempts: int
    resend: int
    own: bool
    has_payload: bool
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """
    What to do with a known lead.

    :param change: what is written over it
    :param join: it becomes one of the run's own
    :param skipped: it is left to the run that settled it
    :param failed_at: since when it is in error, where it is left so
    """

    change: Change = Change.NOTHING
    join: bool = False
    skipped: bool = False
    failed_at: datetime | None = None

    @property
    def writes(self) -> bool:
        """Whether the log changes by it at all."""
        return self.join or self.change is not Change.NOTHING


@dataclass(frozen=True, slots=True)
class Rule:
    """
    What the operator wants with leads that are settled already.

    :param resend_delivered: send again what other runs delivered, once a run (Contract 4.4)
    :param resend_errors: each lead is asked for by itself: send again what failed in other runs,
        once a run (Contract 4.6), and answer for what they kept back (Contract 4.7)
    :param refresh_delivered: give the run's own the present payload, for a clear (Contract 4.5)
    """

    resend_delivered: bool = False
    resend_errors: bool = False
    refresh_delivered: bool = False

    @property
    def passes_over_delivered(self) -> bool:
        """Whether a delivered lead stays as it is, whatever its row holds now (Contract 4.4)."""
        return not self.resend_delivered and not self.refresh_delivered

    def decide(self, known: Known, candidate: Candidate) -> Decision:
        """Return what to do with a lead that was found again."""
        if known.fingerprint == ERASED:
            return Decision(skipped=True)
        match known.status:
            case Status.DELIVERED:
                return self._delivered(known, candidate)
            case Status.ERROR:
                return self._failed(known, candidate)
            case Status.FILTERED | Status.INVALID:
                return self._kept_back(known, candidate)
            case Status.PENDING if known.attempts == 0:
                to_send = candidate.status is Status.PENDING
                change = _refresh(known, candidate) if to_send else Change.KEEP_BACK
                return Decision(change, join=not known.own)
        # An attempt was made, or is being made, with the payload it has: it goes out as it is.
        return Decision(join=not known.own)

    def _delivered(self, known: Known, candidate: Candidate) -> Decision:
        if known.own:
            return Decision(
                _refresh(known, candidate) if self.refresh_delivered else Change.NOTHING
            )
        if self.resend_delivered and candidate.status is Status.PENDING:
            return Decision(Change.RESEND, join=True)
        return Decision(skipped=True)

    def _failed(self, known: Known, candidate: Candidate) -> Decision:
        if known.own:
            return Decision(_refresh(known, candidate))
        if self.resend_errors and candidate.status is Status.PENDING:
            return Decision(Change.RESEND, join=True)
        if self.resend_errors and candidate.status is Status.INVALID:
            return Decision(join=True)  # it cannot be sent again as it is: the task fails for it
        return Decision(_refresh(known, candidate), skipped=True, failed_at=known.updated_at)

    def _kept_back(self, known: Known, candidate: Candidate) -> Decision:
        if candidate.status is Status.PENDING:
            return Decision(Change.OPEN, join=not known.own)
        before = (known.status, without_position(known.reason), known.fingerprint)
        now = (candidate.status, without_position(candidate.reason), candidate.fingerprint)
        if before == now:
            # Of a query, the run that found it first has told of it.
            return Decision(join=self.resend_errors and not known.own)
        return Decision(Change.KEEP_BACK, join=not known.own)


def _refresh(known: Known, candidate: Candidate) -> Change:
    if candidate.status is not Status.PENDING:
        return Change.NOTHING
    if known.has_payload and known.fingerprint == candidate.fingerprint:
        return Change.NOTHING
    return Change.REFRESH
