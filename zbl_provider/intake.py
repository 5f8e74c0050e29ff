"""One found lead becomes a candidate: what the log is to record of it, and whether it is sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zbl_provider.exceptions import InvalidLead
from zbl_provider.leads import payload, schema
from zbl_provider.log.model import Candidate, Status

if TYPE_CHECKING:
    from zbl_provider.delivery.destination import Destination
    from zbl_provider.leads.lead import Lead


@dataclass(frozen=True, slots=True)
class Unreadable:
    """
    A found row that could not become a lead (Contract 5.5).

    :param lead_id: the row's id, or one made up from its fingerprint where it has none
    :param problem: what is wrong with it
    :param fingerprint: tells later whether the row has changed
    """

    lead_id: str
    problem: InvalidLead
    fingerprint: str


def candidate(found: Lead | Unreadable, destination: Destination) -> Candidate:
    """
    Judge one found lead by the integration's filters and the schema, in this order (Contract 5).

    :param found: a lead, or a row that could not become one
    :param destination: the integration with its filters
    :return: PENDING with the exact bytes to send; FILTERED or INVALID with the reason
    """
    if isinstance(found, Unreadable):
        lead_id, fingerprint = found.lead_id, found.fingerprint
        verdict: tuple[Status, str | None, bytes | None]
        verdict = (Status.INVALID, str(found.problem), None)
    else:
        lead_id = found.id
        fingerprint, verdict = _judge(found, destination)
    status, reason, body = verdict
    return Candidate(
        webhook_id=payload.webhook_id(destination.integration, lead_id),
        lead_id=lead_id,
        status=status,
        reason=reason,
        body=body,
        fingerprint=fingerprint,
    )


def _judge(
    lead: Lead, destination: Destination
) -> tuple[str, tuple[Status, str | None, bytes | None]]:
    document = payload.document(lead)
    try:
        body = payload.encode(document)
    except InvalidLead as problem:
        return payload.fingerprint(repr(lead).encode("utf-8", "backslashreplace")), (
            Status.INVALID,
            str(problem),
            None,
        )
    fingerprint = payload.fingerprint(body)
    if reason := destination.filters.reason(document):
        return fingerprint, (Status.FILTERED, reason, None)
    if problem := schema.violation(document) or schema.check_size(body):
        return fingerprint, (Status.INVALID, str(problem), None)
    return fingerprint, (Status.PENDING, None, body)
