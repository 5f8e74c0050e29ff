"""What the demo prints: one line an event, and tables that are checked."""

from __future__ import annotations

import os
import sqlite3
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from demo import leads
from demo.world import INTEGRATIONS, Expected, Integration

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from tests.support.receiver import Received

console = Console(highlight=False)
STATUSES = ("delivered", "retrying", "sending", "pending", "error", "filtered", "invalid")
_COLOURS = {"delivered": "green", "error": "red", "invalid": "red", "retrying": "yellow"}


@dataclass(frozen=True, slots=True)
class Clock:
    """The time since the command was typed.

    :param started: Unix time; `make` passes it in `DEMO_STARTED`.
    """

    started: float = field(
        default_factory=lambda: float(os.environ.get("DEMO_STARTED") or time.time())
    )

    def since(self, at: float | None = None) -> str:
        """Return the time from the start to `at` (now, if None) as m:ss."""
        seconds = int((time.time() if at is None else at) - self.started)
        return f"{seconds // 60}:{seconds % 60:02}"

    def say(self, text: str, *, at: float | None = None) -> None:
        """Print one line, with its time in front."""
        console.print(f"[dim]{self.since(at):>6}[/]  {text}", soft_wrap=True)


@dataclass(frozen=True, slots=True)
class Entry:
    """One lead's row in the delivery log."""

    integration: str
    lead_id: str
    status: str
    reason: str | None
    attempts: int


class DeliveryLog:
    """The delivery log, read as anyone with an SQL prompt could."""

    def __init__(self, home: Path) -> None:
        self._home = home

    def entries(self) -> list[Entry]:
        """Return all rows; none while the log has not been made yet."""
        for path in sorted(self._home.glob("*.db")):
            with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
                if database.execute(_IS_LOG).fetchone():
                    return [Entry(*row) for row in database.execute(_ENTRIES)]
        return []

    def counts(self, integration: str) -> Counter[str]:
        """Count an integration's leads by status."""
        return Counter(e.status for e in self.entries() if e.integration == integration)


_IS_LOG = "SELECT 1 FROM sqlite_master WHERE name = 'zbl_delivery'"
_ENTRIES = "SELECT integration, lead_id, status, reason, attempts FROM zbl_delivery"


def in_words(counts: Counter[str]) -> str:
    """Return counts by status as one coloured line."""
    parts = (
        f"{_coloured(counts[status], status)} {status}" for status in STATUSES if counts[status]
    )
    return ", ".join(parts) or "nothing yet"


def _coloured(count: int, status: str) -> str:
    colour = _COLOURS.get(status)
    return f"[{colour}]{count}[/]" if colour and count else str(count)


def table(title: str, entries: Iterable[Entry], received: Sequence[Received]) -> Table:
    """Return the delivery log by integration and status, beside what the receiver got."""
    counts = Counter((entry.integration, entry.status) for entry in entries)
    shown = [status for status in STATUSES if any(counts[i.name, status] for i in INTEGRATIONS)]
    drawn = Table(title=title, title_justify="left", title_style="bold")
    drawn.add_column("integration")
    for status in shown:
        drawn.add_column(status, justify="right")
    drawn.add_column("receiver said 2xx to", justify="right")
    for integration in INTEGRATIONS:
        numbers = [_coloured(counts[integration.name, status], status) for status in shown]
        arrived = len(set(accepted(integration, received)))
        drawn.add_row(integration.name, *numbers, f"{arrived} leads")
    return drawn


def odd_rows(entries: Iterable[Entry]) -> Table:
    """Return what became of the leads whose rows are not as they should be."""
    statuses = {(entry.lead_id, entry.integration): entry.status for entry in entries}
    drawn = Table(title="Odd rows", title_justify="left", title_style="bold")
    for head in ("lead", "its row", *(integration.name for integration in INTEGRATIONS)):
        drawn.add_column(head)
    for lead_id, what in leads.ODD.items():
        became = [statuses.get((lead_id, i.name), "not selected") for i in INTEGRATIONS]
        drawn.add_row(lead_id, what, *became)
    return drawn


def troubles(entries: Iterable[Entry]) -> list[str]:
    """Say in a sentence each why leads were not delivered, alike ones together."""
    alike: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in entries:
        if entry.status in {"error", "invalid"}:
            key = (entry.integration, entry.status, entry.reason or "")
            alike.setdefault(key, []).append(entry)
    return [_trouble(*key, same) for key, same in alike.items()]


def _trouble(integration: str, status: str, reason: str, entries: Sequence[Entry]) -> str:
    who = entries[0].lead_id if len(entries) == 1 else f"{len(entries)} leads"
    what = f"in error after attempt {entries[0].attempts}" if status == "error" else status
    return f"[bold]{integration:<12}[/]{who} {what}: {reason}"


def accepted(integration: Integration, received: Iterable[Received]) -> list[str]:
    """Return the id of a lead for each time the receiver said 2xx to it."""
    ours = (request for request in received if request.path == integration.path)
    return [request.lead_id for request in ours if 200 <= request.status < 300]


def differences(
    integration: Integration,
    expected: Expected,
    entries: Sequence[Entry],
    received: Sequence[Received],
) -> list[str]:
    """Compare what must be, what the log says, and what the receiver got.

    :returns: a sentence for each difference; empty when all three agree.
    """
    ours = [entry for entry in entries if entry.integration == integration.name]
    logged = frozenset(entry.lead_id for entry in ours if entry.status == "delivered")
    arrivals = Counter(accepted(integration, received))
    wrong = [f"{lead_id} arrived {times} times" for lead_id, times in arrivals.items() if times > 1]
    wrong += [
        f"{lead_id} came under several webhook-ids" for lead_id in _renamed(integration, received)
    ]
    for what, got in (("the receiver", frozenset(arrivals)), ("the delivery log", logged)):
        wrong += [f"{lead_id} is missing in {what}" for lead_id in expected.delivered - got]
        wrong += [f"{lead_id} should not be in {what}" for lead_id in got - expected.delivered]
    counts = Counter(entry.status for entry in ours)
    for status in ("filtered", "invalid", "error", "retrying", "sending", "pending"):
        wanted = getattr(expected, status, 0)
        if counts[status] != wanted:
            wrong.append(f"{counts[status]} leads are {status}, not {wanted}")
    return [f"{integration.name}: {sentence}" for sentence in sorted(wrong)]


def _renamed(integration: Integration, received: Iterable[Received]) -> list[str]:
    """Return the leads whose attempts, the resent ones included, did not share one webhook-id."""
    ours = (request for request in received if request.path == integration.path)
    ids = Counter(lead_id for lead_id, _ in {(r.lead_id, r.webhook_id) for r in ours})
    return [lead_id for lead_id, count in ids.items() if count > 1]
