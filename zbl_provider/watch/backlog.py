"""
Which leads of a query wait to be delivered (Contract 8.1 and 8.2). Reads alone.

It judges rows and asks the log as enrolment does, so that whoever waits for leads and the operator
that sends them mean the same ones.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from zbl_provider.dispatch.choice import Choice
from zbl_provider.dispatch.intake import candidate, find
from zbl_provider.leads.payload import webhook_ids
from zbl_provider.log.model import OPEN, Status
from zbl_provider.log.outbox.decision import Change, Rule

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.dispatch.intake import FoundRow
    from zbl_provider.log.model import Candidate
    from zbl_provider.log.outbox.decision import Known
    from zbl_provider.log.store import DeliveryLog

MANY = 1000
"""Leads that wait are counted up to this."""

_BATCH = 500
_FIRST_COME = Rule()
_SETTLED = (Status.DELIVERED, Status.ERROR)
# So long after it was due a lead is minded by nobody: a deferred task is back within seconds.
_GRACE = timedelta(seconds=30)

_Row = tuple["Sequence[str]", "Sequence[object]"]


class Missing(Enum):
    """What a lead lacks that is not delivered yet."""

    ENROLMENT = auto()  # the log does not know it, or not as it is now
    OUTCOME = auto()  # it is in the log, to be sent or sent again


class BacklogLead(NamedTuple):
    """
    A lead of the query that waits to be delivered.

    :param key: tells it, as it is now, from every other; no personal data
    :param missing: what it lacks
    """

    key: str
    missing: Missing


@dataclass(frozen=True, slots=True)
class Backlog:
    """
    What waits for an integration while no task works on it.

    :param leads: keys of leads that the log has yet to take up, MANY at most
    :param overdue: leads in the log that should have gone out and that nobody is about to send
    """

    leads: frozenset[str]
    overdue: int

    @property
    def keys(self) -> frozenset[str]:
        """What tells one thing to do from another, so that it is not announced at every look."""
        # Of very many, a query need not give the same first ones at each look.
        leads = self.leads if len(self.leads) < MANY else frozenset({"many"})
        return leads | {"overdue"} if self.overdue else leads


def missing(known: Known | None, candidate: Candidate) -> Missing | None:
    """
    Tell whether a DispatchLeadsOperator would have something to do for a lead of its query.

    One that was delivered, or that ended in error, it leaves alone: a clear or Resend sends that
    again (Contract 4.4 and 4.5). One that is invalid fails its task, once for each change of its
    row (5.5). What the filters keep back is recorded by the next run; it is no cause for one (5.4).

    :param known: as the log knows it; None if it does not
    :param candidate: the lead as the query has it now
    :return: what it lacks; None for nothing
    """
    if known is None:
        return None if candidate.status is Status.FILTERED else Missing.ENROLMENT
    decision = _FIRST_COME.decide(known, candidate)
    kept_back = decision.change is Change.KEEP_BACK and candidate.status is Status.FILTERED
    if kept_back or not decision.join:
        return None
    return Missing.OUTCOME if known.status in OPEN else Missing.ENROLMENT


def read_backlog(
    rows: Iterable[_Row],
    field_map: Mapping[str, str] | None,
    destination: Destination,
    log: DeliveryLog,
) -> Generator[BacklogLead, None, None]:
    """
    Find the leads of a query that wait, some hundreds in memory.

    :param rows: the names of the columns, the same for all, and the values of each row
    :param field_map: column name to field of the contract (Contract 4.2)
    :param destination: the integration with its filters
    :param log: the delivery log
    :return: those that wait: first those to be sent, then, at the query's end, others that
        somebody has to see (Contract 4.8)
    :raises ConfigurationError: if the columns cannot be told apart, or none is the id
    """
    leads = find(rows, field_map)
    with closing(Choice()) as choice:
        while batch := list(islice(leads, _BATCH)):
            judged = [candidate(row, destination) for row in _open(batch, destination, log)]
            yield from _lacking(choice.take(judged), log)
        for kept in choice.rest(_BATCH):
            yield from _lacking(kept, log)


def sum_up(
    rows: Iterable[_Row],
    field_map: Mapping[str, str] | None,
    destination: Destination,
    log: DeliveryLog,
    now: datetime,
) -> Backlog:
    """
    See what waits for an integration while no task works on it (Contract 8.2).

    :param rows: as of `read_backlog`
    :param field_map: as of `read_backlog`
    :param destination: the integration; of one that is not active no lead is overdue
    :param log: the delivery log
    :param now: the present time, aware
    :raises ConfigurationError: as `read_backlog`
    """
    with closing(read_backlog(rows, field_map, destination, log)) as backlog:
        keys = (lead.key for lead in backlog if lead.missing is Missing.ENROLMENT)
        leads = frozenset(islice(keys, MANY))
    overdue = log.overdue(destination.integration, now - _GRACE, now) if destination.active else 0
    return Backlog(leads, overdue)


def _lacking(candidates: Sequence[Candidate], log: DeliveryLog) -> Iterator[BacklogLead]:
    known = log.known([judged.webhook_id for judged in candidates])
    for judged in candidates:
        if what := missing(known.get(judged.webhook_id), judged):
            yield BacklogLead(f"{judged.webhook_id} {judged.fingerprint}", what)


def _open(
    batch: Sequence[FoundRow], destination: Destination, log: DeliveryLog
) -> Iterator[FoundRow]:
    """
    Leave out what waits no more, whatever its row holds now.

    That is nearly all that a look-back finds, so it costs no more than reading the ids.
    """
    lead_ids = [row.id for row in batch if row.id is not None]
    keys = dict(zip(lead_ids, webhook_ids(destination.integration, lead_ids), strict=True))
    rest, _ = log.unsettled(keys.values(), _SETTLED)
    return (row for row in batch if row.id is None or keys[row.id] in rest)
