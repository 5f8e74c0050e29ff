"""
What is found becomes candidates: read, then judged by the integration's filters and the schema.

A lead that cannot be read or sent never stops the others: it is a candidate, too, that the log
records with the reason (Contract 4.2 and 5.5).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from zbl_provider.exceptions import ConfigurationError, InvalidLead
from zbl_provider.leads import payload, schema
from zbl_provider.leads.lead import Lead, RowReader, read_lead
from zbl_provider.leads.values import as_identifier
from zbl_provider.log.model import Candidate, Status, with_position

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from zbl_provider.delivery.destination import Destination

# Where an object's text says no more than where it lies in memory.
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+(?=>)")
_HIDDEN_BYTES = "<memory at 0x"  # psycopg2's bytea


@dataclass(frozen=True, slots=True)
class Unreadable:
    """
    A found row that could not become a lead (Contract 5.5).

    :param id: the lead's, or one made up from the fingerprint where the row has none
    :param problem: what is wrong with it
    :param fingerprint: tells later whether the row has changed
    """

    id: str
    problem: InvalidLead
    fingerprint: str


class FoundRow(NamedTuple):
    """
    A row of a query of which only the id has been read.

    :param id: the lead's; None where the row has none that can be used
    :param values: one for each column
    :param reader: reads the rest
    :param position: which row of the query it is, counted from 1
    """

    id: str | None
    values: Sequence[object]
    reader: RowReader
    position: int

    def read(self) -> Lead | Unreadable:
        """Return the lead, or why the row is none; a row without an id is named by its position."""
        try:
            return self.reader(self.values)
        except InvalidLead as problem:
            if self.id is None:
                problem = InvalidLead(problem.path, with_position(problem.rule, self.position))
            return _unreadable(self.id, self.values, problem)


def find(
    rows: Iterable[tuple[Sequence[str], Sequence[object]]], field_map: Mapping[str, str] | None
) -> Iterator[FoundRow]:
    """
    Find the ids of the rows of one query: what the log knows as settled needs no more than that.

    :param rows: the names of the columns, the same for all, and the values of each row
    :param field_map: column name to field of the contract (Contract 4.2)
    :raises ConfigurationError: if the columns cannot be told apart, or none is the id
    """
    reader = None
    for position, (columns, values) in enumerate(rows, start=1):
        if reader is None:
            reader = _reader(columns, field_map)
        yield FoundRow(reader.lead_id(values), values, reader, position)


def read(
    rows: Iterable[tuple[Sequence[str], Sequence[object]]], field_map: Mapping[str, str] | None
) -> Iterator[Lead | Unreadable]:
    """
    Read the rows of one query.

    :param rows: as of `find`
    :param field_map: as of `find`
    :return: a lead for each row, or why it is none
    :raises ConfigurationError: as `find`
    """
    return (row.read() for row in find(rows, field_map))


def read_one(lead: Mapping[str, object]) -> Lead | Unreadable:
    """
    Read one lead given in the payload's words (Contract 4.1).

    :param lead: the fields of the payload's ``lead``, and ``list``
    :return: the lead, or why it is none
    """
    try:
        return read_lead(lead)
    except InvalidLead as problem:
        try:
            lead_id = as_identifier(lead.get("id"), "lead.id")
        except (InvalidLead, RecursionError):
            lead_id = None
        return _unreadable(lead_id, lead, problem)


Found = FoundRow | Lead | Unreadable
"""What an operator finds: a query's rows, or a lead that it was given."""


def check_columns(field_map: Mapping[str, str] | None, columns: Sequence[str]) -> None:
    """
    Check a query's columns, whether or not it has rows.

    :param field_map: column name to field of the contract
    :param columns: as the database names them
    :raises ConfigurationError: if the columns cannot be told apart, or none is the id
    """
    _reader(columns, field_map)


def _reader(columns: Sequence[str], field_map: Mapping[str, str] | None) -> RowReader:
    reader = RowReader(columns, field_map)
    if not reader.has_id:
        raise ConfigurationError(
            field="sql",
            problem="the query gives no column id",
            remedy="Select the lead's id, or name its column in field_map",
        )
    return reader


def _unreadable(lead_id: str | None, values: object, problem: InvalidLead) -> Unreadable:
    fingerprint = payload.fingerprint(row_text(values).encode("utf-8", "backslashreplace"))
    return Unreadable(lead_id or f"row-{fingerprint[:12]}", problem, fingerprint)


def row_text(values: object) -> str:
    """Give the same text for the same row each time that it is read, and another for another."""
    try:
        text = repr(values)
        if "{" in text:  # a set, perhaps, which each process writes in an order of its own
            text = repr(_with_sets_in_order(values))
    except Exception:  # noqa: BLE001  whatever a value's own type does, or thousands of digits
        text = ""
    if not text or _HIDDEN_BYTES in text:
        each = values.items() if isinstance(values, Mapping) else enumerate(_as_sequence(values))
        text = "\n".join(f"{place} {_value_text(value)}" for place, value in each)
    return _ADDRESS.sub("", text)


def _with_sets_in_order(value: Any) -> Any:  # noqa: ANN401  whatever a row holds
    """Replace sets, such as those of MySQL's SET columns; what else there is keeps its text."""
    if type(value) in (list, tuple):
        return type(value)(map(_with_sets_in_order, value))
    if type(value) is dict:
        return {key: _with_sets_in_order(item) for key, item in value.items()}
    if isinstance(value, set | frozenset):
        return sorted(map(repr, value))
    return value


def _as_sequence(values: object) -> Sequence[object]:
    return values if isinstance(values, Sequence) else [values]


def _value_text(value: object) -> str:
    try:
        return repr(bytes(value)) if isinstance(value, memoryview) else repr(value)
    except Exception:  # noqa: BLE001  as above; its words may quote the value
        return type(value).__name__


def candidate(lead: Found, destination: Destination) -> Candidate:
    """
    Judge what was found by the integration's filters, then by the schema (Contract 5).

    :param lead: a row, a lead, or a row that could not become one
    :param destination: the integration with its filters
    :return: PENDING with the exact bytes to send; FILTERED or INVALID with the reason
    """
    if isinstance(lead, FoundRow):
        lead = lead.read()
    judged = partial(Candidate, payload.webhook_id(destination.integration, lead.id), lead.id)
    if isinstance(lead, Unreadable):
        return judged(Status.INVALID, str(lead.problem), None, lead.fingerprint)
    document = payload.document(lead)
    try:
        body = payload.encode(document)
    except InvalidLead as problem:
        unreadable = _unreadable(lead.id, document, problem)
        return judged(Status.INVALID, str(problem), None, unreadable.fingerprint)
    fingerprint = payload.fingerprint(body)
    if reason := destination.filters.reason(document):
        unjudged = destination.filters.unjudged(document)
        status = Status.INVALID if unjudged else Status.FILTERED
        return judged(status, str(unjudged or reason), None, fingerprint)
    try:
        to_send = _to_send(document, body, destination)
    except InvalidLead as problem:
        return judged(Status.INVALID, str(problem), None, fingerprint)
    if to_send is not body:
        # Its own, so that a lead that failed gets the body of a connection that was corrected.
        fingerprint = payload.fingerprint(to_send)
    email = lead.email if isinstance(lead.email, str) else None
    return judged(Status.PENDING, None, to_send, fingerprint, email)


def _to_send(document: Mapping[str, object], body: bytes, destination: Destination) -> bytes:
    """Validate the payload, and make the connection's own body of it if it has one (2.7, 5.5)."""
    if broken := schema.violation(document):
        raise broken
    if destination.body is not None:
        body = payload.encode(destination.body.render(document))
    if broken := schema.check_size(body):
        raise broken
    return body
