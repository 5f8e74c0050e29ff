"""A Lead becomes the bytes that are sent, and the ids that go with them (Contract 2.1 to 2.3)."""

from __future__ import annotations

from datetime import datetime, timedelta
from hashlib import blake2b, sha256
from typing import TYPE_CHECKING

import orjson

from zbl_provider.exceptions import InvalidLead
from zbl_provider.leads.lead import Lead
from zbl_provider.leads.values import JSON, as_time, field_path, lone_surrogate

if TYPE_CHECKING:
    from collections.abc import Iterable

MAX_BODY_BYTES = 1_048_576
_MAX_DEPTH = 254  # of orjson
_NAMED = 3  # levels whose names tell where something is: lead.custom_fields.city

_TEST_PREFIX = "test-"


def document(lead: Lead) -> dict[str, object]:
    """
    Lay a lead out as the contract's JSON document: every key, always, in one order (Contract 2.2).

    :param lead: the lead
    :return: the document; its custom fields and verifications are the lead's own, not copies
    """
    listed = lead.list_id is not None or lead.list_name is not None
    return {
        "event": "lead.qualified",
        "lead": {
            "id": lead.id,
            "email": lead.email,
            "name": lead.name,
            "phone": lead.phone,
            "company": lead.company,
            "score": lead.score,
            "status": lead.status,
            "custom_fields": lead.custom_fields,
            "verifications": lead.verifications,
            "created_at": lead.created_at,
            "qualified_at": lead.qualified_at,
        },
        "list": {"id": lead.list_id, "name": lead.list_name} if listed else None,
    }


def encode(document: object) -> bytes:
    """
    Write a document as the UTF-8 bytes that are signed, sent and kept.

    :param document: as from :func:`document`, or a body of the destination's own: JSON values only
    :raises InvalidLead: for text that is not Unicode (half a surrogate pair), or values nested
        deeper than JSON writers allow
    """
    try:
        return orjson.dumps(document)
    except TypeError:
        pass
    try:
        place = lone_surrogate(document, "")
    except RecursionError:
        place = None
    if place:
        rule = "must be Unicode text: half a surrogate pair, or what is not UTF-8, is in it"
        raise InvalidLead(place, rule)
    if place := _too_deep(document, _MAX_DEPTH, "lead"):
        raise InvalidLead(place, f"must not nest its values over {_MAX_DEPTH} deep")
    raise InvalidLead("lead", "must be Unicode text and JSON values that can be written out")


def _too_deep(value: object, most: int, path: str) -> str | None:
    """Find what is nested too deeply: the path of the field, as far as names go; None for none."""
    level = [value]
    for _ in range(most):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
    if not level:
        return None
    if isinstance(value, dict) and most > _MAX_DEPTH - _NAMED:
        for name, inner in value.items():
            outside = most == _MAX_DEPTH
            if place := _too_deep(inner, most - 1, name if outside else field_path(path, name)):
                return place
    return path


def webhook_id(integration: str, lead_id: str) -> str:
    """
    Name a lead's delivery to an integration: the same for ever (Contract 2.3).

    :param integration: the connection's id
    :param lead_id: the lead's id
    :return: ``msg_`` and 40 hexadecimal digits; a change to it would send every lead again
    """
    return webhook_ids(integration, [lead_id])[0]


def webhook_ids(integration: str, lead_ids: Iterable[str]) -> list[str]:
    """
    Name many leads' deliveries to one integration, each as `webhook_id` does.

    :param integration: the connection's id
    :param lead_ids: the leads' ids
    """
    # The length tells where one ends and the other begins, so that no two pairs read alike.
    prefix = f"{len(integration)}:{integration}"
    return ["msg_" + sha256(f"{prefix}{lead_id}".encode()).hexdigest()[:40] for lead_id in lead_ids]


def fingerprint(data: bytes) -> str:
    """
    Tell whether a payload has changed since it was last seen (Contract 5.4 and 5.5).

    :param data: the payload's bytes
    :return: 32 hexadecimal digits
    """
    return blake2b(data, digest_size=16).hexdigest()


def sample(test_id: str, now: datetime) -> dict[str, object]:
    """
    Make up the lead of the Test button, so that a receiver can learn every field (Contract 1.6).

    :param test_id: its id; begins with ``test-``, or is made to
    :param now: when it shall have qualified, with its zone
    """
    custom_fields = _AnyField({"job_title": "Sales Director", "city": "New York"})
    lead = Lead(
        id=_TEST_PREFIX + test_id.removeprefix(_TEST_PREFIX),
        email="john@company.com",
        name="John Smith",
        phone="+5511999999999",
        company="Company XYZ",
        score=85,
        status="qualified",
        custom_fields=custom_fields,
        verifications={
            "email_valid": True,
            "phone_valid": True,
            "cnpj_valid": True,
            "cnpj_status": "Active",
            "ip_risk_score": 5,
            "ip_proxy": False,
            "ip_vpn": False,
        },
        created_at=as_time(now - timedelta(seconds=2), "lead.created_at"),
        qualified_at=as_time(now, "lead.qualified_at"),
        list_id="test-list",
        list_name="Test list",
    )
    return document(lead)


class _AnyField(dict[str, JSON]):
    """The test lead's custom fields: has a text for whatever name a body of its own asks for."""

    def __missing__(self, name: str) -> JSON:
        return f"Test {name}"
