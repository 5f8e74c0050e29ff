"""Where a run stands, and why its task fails if it does."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from zbl_provider.log.model import FAILED, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from zbl_provider.exceptions import IntegrationDown, IntegrationPaused
    from zbl_provider.log.model import Failed

_LEADS_NAMED = 3
_IN_WORDS = {
    Status.ERROR: "in error",
    Status.INVALID: "invalid",
    Status.FILTERED: "filtered",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """
    Where a run stands once its leads were dispatched as far as is possible now.

    :param counts: the run's own leads by status
    :param skipped: leads found now that an earlier run has settled
    :param failed_before: those of them that are in error, and stay so
    :param failed_since: since when the first of these is, aware
    :param repeated: rows found now whose id another row had before them (Contract 4.8)
    :param held: who keeps the leads back, and how they are let go; None when nobody does
    :param paused: why nothing more is sent, if the integration is paused (Contract 8.6)
    :param down: why leads are not tried, if the destination is down (Contract 8.7)
    :param kept_back: it is a single lead, and waits until its integration is neither held nor down;
        ``due_at`` is None then
    :param due_at: when to dispatch again; None when the run has no more to do
    :param failed: the first of its leads in ``error`` or ``invalid``
    """

    counts: Mapping[Status, int]
    skipped: int
    failed_before: int
    failed_since: datetime | None
    repeated: int
    held: str | None
    paused: IntegrationPaused | None
    down: IntegrationDown | None
    kept_back: bool
    due_at: datetime | None
    failed: tuple[Failed, ...]

    def failure(self, integration: str) -> str | None:
        """
        Say why the task fails: one message (Contract 4.7, 8.6 and 8.7).

        :param integration: the connection id
        :return: None when it does not fail
        """
        failed = {status: self.counts.get(status, 0) for status in (Status.ERROR, Status.INVALID)}
        reasons = [str(self.paused)] if self.paused else []
        if self.down and self.down.ends_the_task:
            reasons.append(str(self.down))
        if FAILED & self.counts.keys():
            total = sum(self.counts.values())
            reasons.append(
                f"{undelivered(integration, total, failed, self.failed)} "
                "Fix the cause, then clear this task to send them again."
            )
        return " ".join(reasons) or None


def undelivered(
    integration: str, total: int, failed: Mapping[Status, int], first: Sequence[Failed]
) -> str:
    """
    Say how many leads were not delivered, and name the first of them by id (Contract 4.7).

    :param integration: the connection id
    :param total: how many leads there are in all
    :param failed: how many of them will not be delivered, by status
    :param first: the first of these; only some are named
    """
    count = sum(failed.values())
    counts = ", ".join(f"{count} {_IN_WORDS[status]}" for status, count in failed.items())
    named = "; ".join(
        f"lead {lead.lead_id} ({lead.status}: {lead.reason})" for lead in first[:_LEADS_NAMED]
    )
    more = "; …" if count > _LEADS_NAMED else ""
    if total == 1:
        return f"The lead was not delivered to {integration}. {named}."
    return f"{count} of {total} leads were not delivered to {integration}: {counts}. {named}{more}."
