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

from zbl_provider.dispatch.intake import candidate, read
from zbl_provider.leads.lead import RowReader
from zbl_provider.leads.payload import webhook_id
from zbl_provider.log.model import OPEN, Status
from zbl_provider.log.outbox.decision import Change, Rule

if TYPE_CHECKING:
    from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
    from datetime import datetime

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.log.model import Candidate
    from zbl_provider.log.outbox.decision import Known
    from zbl_provider.log.store import DeliveryLog

MANY = 1000
"""Leads that wait are counted up to this."""

_BATCH = 500
_FIRST_COME = Rule()
# So long after it was due a lead is minded by nobody: a deferred task is back within seconds.
_GRACE = timedelta(seconds=30)

_Row = tuple["Sequence[str]", "Sequence[object]"]


class Need(Enum):
    """What a lead needs that is not delivered yet."""

    UPTAKE = auto()  # the log does not know it, or not as it is now
    OUTCOME = auto()  # it is in the log, to be sent or sent again


class Waiting(NamedTuple):
    """
    A lead that waits.

    :param key: tells it, as it is now, from every other; no personal data
    :param need: what it needs
    """

    key: str
    need: Need


@dataclass(frozen=True, slots=True)
class Found:
    """
    What a watcher sees at one look.

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


def need(known: Known | None, found: Candidate) -> Need | None:
    """
    Tell whether a DispatchLeadsOperator would have something to do for a lead of its query.

    One that was delivered, or that ended in error, it leaves alone: a clear or Resend sends that
    again (Contract 4.4 and 4.5). One that is invalid fails its task, once for each change of its
    row (5.5). What the filters keep back is recorded by the next run; it is no cause for one (5.4).

    :param known: as the log knows it; None if it does not
    :param found: the lead as the query has it now
    :return: what it needs; None for nothing
    """
    if known is None:
        return None if found.status is Status.FILTERED else Need.UPTAKE
    decision = _FIRST_COME.decide(known, found)
    kept_back = decision.change is Change.KEEP_BACK and found.status is Status.FILTERED
    if kept_back or not decision.join:
        return None
    return Need.OUTCOME if known.status in OPEN else Need.UPTAKE


def waiting(
    rows: Iterable[_Row],
    field_map: Mapping[str, str] | None,
    destination: Destination,
    log: DeliveryLog,
) -> Generator[Waiting, None, None]:
    """
    Find the leads of a query that wait, some hundreds in memory.

    :param rows: the names of the columns, the same for all, and the values of each row
    :param field_map: column name to field of the contract (Contract 4.2)
    :param destination: the integration with its filters
    :param log: the delivery log
    :return: those that wait, in the query's order
    :raises ConfigurationError: if the columns cannot be told apart, or none is the id
    """
    remaining = iter(rows)
    while batch := list(islice(remaining, _BATCH)):
        yield from _waiting(batch, field_map, destination, log)


def watch(
    rows: Iterable[_Row],
    field_map: Mapping[str, str] | None,
    destination: Destination,
    log: DeliveryLog,
    now: datetime,
) -> Found:
    """
    See what is to be done for an integration and is done by nobody (Contract 8.2).

    :param rows: as of `waiting`
    :param field_map: as of `waiting`
    :param destination: the integration; of one that is not active no lead is overdue
    :param log: the delivery log
    :param now: the present time, aware
    :raises ConfigurationError: as `waiting`
    """
    with closing(waiting(rows, field_map, destination, log)) as found:
        keys = (one.key for one in found if one.need is Need.UPTAKE)
        leads = frozenset(islice(keys, MANY))
    overdue = log.overdue(destination.integration, now - _GRACE, now) if destination.active else 0
    return Found(leads, overdue)


def _waiting(
    batch: Sequence[_Row],
    field_map: Mapping[str, str] | None,
    destination: Destination,
    log: DeliveryLog,
) -> Iterator[Waiting]:
    ids = _webhook_ids(batch, field_map, destination.integration)
    known = log.known([one for one in ids if one])
    # Nearly every lead of a look-back is delivered: its row need not be read.
    open_rows = [
        row for row, one in zip(batch, ids, strict=True) if one is None or _open(known.get(one))
    ]
    found: dict[str, Candidate] = {}
    for lead in read(open_rows, field_map):
        judged = candidate(lead, destination)
        found.setdefault(judged.webhook_id, judged)  # of two with one id the first counts
    # A row without an id of its own has one that is made of its values.
    known |= log.known(found.keys() - set(ids))
    for key, judged in found.items():
        if what := need(known.get(key), judged):
            yield Waiting(f"{key} {judged.fingerprint}", what)


def _webhook_ids(
    batch: Sequence[_Row], field_map: Mapping[str, str] | None, integration: str
) -> list[str | None]:
    columns, _ = batch[0]
    reader = RowReader(columns, field_map)
    ids = (reader.lead_id(values) for _, values in batch)
    return [None if one is None else webhook_id(integration, one) for one in ids]


def _open(known: Known | None) -> bool:
    """Tell whether anything that a row may hold can make its lead wait."""
    return known is None or known.status not in {Status.DELIVERED, Status.ERROR}
