"""Writes found leads into the log, before anything is sent (Contract 6.2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zbl_provider.log.model import Claimed, Enrolment, Status
from zbl_provider.log.outbox.decision import Change
from zbl_provider.log.outbox.runs import join
from zbl_provider.log.outbox.standing import present, purged_ids
from zbl_provider.log.storage.bulk import insert_rows, update_rows
from zbl_provider.log.storage.cipher import payload_place
from zbl_provider.log.storage.engine import take_turns
from zbl_provider.log.storage.tables import delivery

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection

    from zbl_provider.log.model import Candidate
    from zbl_provider.log.outbox.claim import Lease
    from zbl_provider.log.outbox.decision import Decision, Known, Rule
    from zbl_provider.log.storage.cipher import Seal
    from zbl_provider.log.storage.email_hash import EmailHasher

# Not when it changed: since when a lead is in error does not depend on its row.
_REFRESHED = ("id", "fingerprint", "payload", "email_hash")


class Enroller:
    """
    Enrols the leads that one run has found for one integration.

    :param connection: in a transaction of its own
    :param seal: how payloads rest
    :param hasher: how emails rest
    :param run_id: the run that found them
    :param now: the present time, aware
    :param lease: claims what is new and to be sent in the same write; None leaves it to be claimed
    """

    def __init__(
        self,
        connection: Connection,
        seal: Seal,
        hasher: EmailHasher,
        run_id: int,
        now: datetime,
        lease: Lease | None = None,
    ) -> None:
        self._connection = connection
        self._seal = seal
        self._hasher = hasher
        self._run_id = run_id
        self._now = now
        self._lease = lease

    def enrol(self, integration: str, candidates: Sequence[Candidate], rule: Rule) -> Enrolment:
        """Write the candidates down; of two with the same id the first counts."""
        self._hasher.prepare(self._connection)
        first: dict[str, Candidate] = {}
        for candidate in candidates:
            first.setdefault(candidate.webhook_id, candidate)
        # Nobody else enrols for this integration meanwhile: what is unknown now stays so until
        # it is inserted, and two runs that found the same leads never wait for each other.
        take_turns(self._connection, f"zbl enrol {integration}")
        decisions = self._apply(first, rule)
        unknown = [key for key in first if key not in decisions]
        # A lead that was delivered so long ago that only its id is left is sent again on request.
        past = {
            webhook_id
            for webhook_id, erased in purged_ids(self._connection, unknown).items()
            if erased or not rule.resend_delivered
        }
        new = [first[key] for key in unknown if key not in past]
        ids = self._insert(integration, new)
        joined = sum(decision.join for decision in decisions.values())
        skipped = {key for key, decision in decisions.items() if decision.skipped}
        failed = {key: when for key in skipped if (when := decisions[key].failed_at)}
        return Enrolment(
            new=len(new),
            joined=joined,
            skipped=len(skipped) + len(past),
            unchanged=len(decisions) - joined - len(skipped),
            repeated=len(candidates) - len(first),
            failed=len(failed),
            failed_since=min(failed.values(), default=None),
            claimed=self._claimed(new, ids),
            left=frozenset(skipped | past),
            left_in_error=frozenset(failed),
        )

    def _insert(self, integration: str, candidates: Sequence[Candidate]) -> dict[str, int]:
        """Write new leads down; return the numbers of those that a lease claims."""
        if not candidates:
            return {}
        shared = {
            "integration": integration,
            "attempts": 0,
            "resend": 0,
            "run_id": self._run_id,
            "created_at": self._now,
        }
        close = self._seal.closer(len(candidates))
        rows = [
            {
                **shared,
                "webhook_id": candidate.webhook_id,
                "lead_id": candidate.lead_id,
                **self._verdict(candidate, close),
                **self._claim(candidate),
            }
            for candidate in candidates
        ]
        numbered = () if self._lease is None else ("webhook_id", "id")
        return dict(map(tuple, insert_rows(self._connection, delivery, rows, numbered)))

    def _claim(self, candidate: Candidate) -> dict[str, Any]:
        if self._lease is None:
            return {}
        if candidate.status is not Status.PENDING:
            return {"claim": None}
        return {
            "status": Status.SENDING.value,
            "claim": self._lease.token,
            "due_at": self._lease.until,
        }

    def _claimed(self, new: Sequence[Candidate], ids: dict[str, int]) -> tuple[Claimed, ...]:
        if self._lease is None:
            return ()
        token, until = self._lease
        return tuple(
            Claimed(ids[lead.webhook_id], lead.webhook_id, lead.lead_id, lead.body, 1, until, token)
            for lead in new
            # Without a body it is given up when its lease has run out.
            if lead.status is Status.PENDING and lead.body is not None
        )

    def _apply(self, candidates: dict[str, Candidate], rule: Rule) -> dict[str, Decision]:
        """Do what is to be done with those that the log knows."""
        known = present(self._connection, candidates, self._run_id)
        decisions = {key: rule.decide(known[key], candidates[key]) for key in known}
        # Nearly every lead of a look-back needs nothing. Those that do may have been claimed, or
        # deleted, since they were read: only behind their locks is the decision final.
        touched = [key for key, decision in decisions.items() if decision.writes]
        if touched:
            locked = present(self._connection, touched, self._run_id, lock=True)
            for key in touched:
                del decisions[key]
            decisions |= {key: rule.decide(locked[key], candidates[key]) for key in locked}
            self._write(candidates, locked, decisions)
        return decisions

    def _write(
        self,
        candidates: dict[str, Candidate],
        locked: dict[str, Known],
        decisions: dict[str, Decision],
    ) -> None:
        changes: dict[Change, list[dict[str, Any]]] = {}
        close = self._seal.closer(len(locked))
        for key, known in locked.items():
            if (change := decisions[key].change) is not Change.NOTHING:
                row = {"id": known.id, **self._verdict(candidates[key], close)}
                if change is Change.REFRESH:
                    row = {name: row[name] for name in _REFRESHED}
                elif change is Change.RESEND:
                    row |= {"attempts": 0, "resend": known.resend + 1, "delivered_at": None}
                changes.setdefault(change, []).append(row)
        for rows in changes.values():
            update_rows(self._connection, delivery, rows)
        join(
            self._connection,
            self._run_id,
            [known.id for key, known in locked.items() if decisions[key].join],
        )

    def _verdict(
        self, candidate: Candidate, close: Callable[[bytes, bytes], bytes]
    ) -> dict[str, Any]:
        to_send = candidate.status is Status.PENDING
        # What is kept back is sent from its row, if ever: its data need not rest here.
        payload = None
        if to_send and candidate.body:
            payload = close(candidate.body, payload_place(candidate.webhook_id))
        return {
            "status": candidate.status.value,
            "reason": candidate.reason,
            "fingerprint": candidate.fingerprint,
            "payload": payload,
            # Beside a payload alone, so that it goes with it, and a new key can be given to it.
            "email_hash": self._hasher.hash(candidate.email) if payload else None,
            "due_at": self._now if to_send else None,
            "updated_at": self._now,
        }
