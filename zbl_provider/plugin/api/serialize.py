"""How the page's answers look as JSON. No payload, no personal data: ids, times and reasons."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import datetime

    from zbl_provider.log.browse.model import Attempt, Bucket, Detail, Page, Row
    from zbl_provider.log.model import Integration

Json = dict[str, Any]


def page(listed: Page, editable: Collection[str]) -> Json:
    """Return some rows, and what to ask for to get the next ones."""
    return {"rows": [row(lead, editable) for lead in listed.rows], "next": listed.next}


def detail(lead: Detail, editable: Collection[str]) -> Json:
    """Return all that is shown of one lead."""
    return row(lead.row, editable) | {
        "attempts_made": [attempt(made) for made in lead.attempts],
        "sendable": lead.sendable,
    }


def row(lead: Row, editable: Collection[str]) -> Json:
    """Return where a lead stands; `may_resend` tells whether the user may edit its Dag."""
    return {
        "id": lead.delivery_id,
        "lead_id": lead.lead_id,
        "webhook_id": lead.webhook_id,
        "integration": lead.integration,
        "status": lead.status.value,
        "reason": lead.reason,
        "attempts": lead.attempts,
        "resend": lead.resend,
        "last_status": lead.last_status,
        "last_kind": lead.last_kind,
        "due_at": moment(lead.due_at),
        "created_at": moment(lead.created_at),
        "updated_at": moment(lead.updated_at),
        "delivered_at": moment(lead.delivered_at),
        "run": lead.run.as_dict(),
        "may_resend": lead.run.dag_id in editable,
    }


def attempt(made: Attempt) -> Json:
    """Return one attempt; the excerpt is what the receiver answered, and shown as text alone."""
    return {
        "number": made.number,
        "resend": made.resend,
        "started_at": moment(made.started_at),
        "duration_ms": made.duration_ms,
        "status_code": made.status_code,
        "kind": made.kind,
        "detail": made.detail,
        "excerpt": made.excerpt,
    }


def kept_back(state: Integration) -> Json:
    """Return what keeps an integration's leads back; each is None where nothing does."""
    return {
        "name": state.name,
        "held_at": moment(state.held_at),
        "held_by": state.held_by,
        "paused_at": moment(state.paused_at),
        "paused_status": state.paused_status,
        "down_since": moment(state.failing_since) if state.down else None,
        "down_reason": state.down_reason if state.down else None,
    }


def bucket(stretch: Bucket) -> Json:
    """Return the attempts of one stretch of time."""
    return {
        "start": moment(stretch.start),
        "seconds": stretch.width.total_seconds(),
        "delivered": stretch.delivered,
        "failed": stretch.failed,
        "p50_ms": stretch.p50_ms,
        "p95_ms": stretch.p95_ms,
    }


def moment(instant: datetime | None) -> str | None:
    """Return a time as RFC 3339."""
    if instant is None:
        return None
    return instant.isoformat(timespec="milliseconds").replace("+00:00", "Z")
