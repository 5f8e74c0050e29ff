"""How the page's answers look as JSON. No payload, no personal data: ids, times and reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from zbl_provider.log.browse.model import Attempt, Bucket, Detail, Page, Row

Json = dict[str, Any]


def page(found: Page, editable: Collection[str]) -> Json:
    """Return some rows, and what to ask for to get the next ones."""
    return {"rows": [row(one, editable) for one in found.rows], "next": found.next}


def detail(found: Detail, editable: Collection[str]) -> Json:
    """Return all that is shown of one lead."""
    return row(found.row, editable) | {
        "attempts_made": [attempt(one) for one in found.attempts],
        "sendable": found.sendable,
    }


def row(one: Row, editable: Collection[str]) -> Json:
    """Return where a lead stands; `may_resend` tells whether the user may edit its Dag."""
    return {
        "id": one.delivery_id,
        "lead_id": one.lead_id,
        "webhook_id": one.webhook_id,
        "integration": one.integration,
        "status": one.status.value,
        "reason": one.reason,
        "attempts": one.attempts,
        "resend": one.resend,
        "last_status": one.last_status,
        "last_kind": one.last_kind,
        "due_at": moment(one.due_at),
        "created_at": moment(one.created_at),
        "updated_at": moment(one.updated_at),
        "delivered_at": moment(one.delivered_at),
        "run": one.run.as_dict(),
        "may_resend": one.run.dag_id in editable,
    }


def attempt(one: Attempt) -> Json:
    """Return one attempt; the excerpt is what the receiver answered, and shown as text alone."""
    return {
        "number": one.number,
        "resend": one.resend,
        "started_at": moment(one.started_at),
        "duration_ms": one.duration_ms,
        "status_code": one.status_code,
        "kind": one.kind,
        "detail": one.detail,
        "excerpt": one.excerpt,
    }


def bucket(one: Bucket) -> Json:
    """Return the attempts of one stretch of time."""
    return {
        "start": moment(one.start),
        "seconds": one.width.total_seconds(),
        "delivered": one.delivered,
        "failed": one.failed,
        "p50_ms": one.p50_ms,
        "p95_ms": one.p95_ms,
    }


def moment(one: datetime | None) -> str | None:
    """Return a time as RFC 3339."""
    return None if one is None else one.isoformat(timespec="milliseconds").replace("+00:00", "Z")
