"""The peers as a picture: leads a second as bars, and what a kill did as words beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.plot import box, document, words

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.peers.trial import Death

_WIDTH, _ROW, _TOP = 1000, 38, 78
_LEFT, _SCALE = 250, 430
_LOST, _DOUBLED = 860, 960  # where the columns end
_OURS, _PEER, _BAD, _GOOD, _TEXT, _FAINT = (
    "#1b7f3b", "#8a99a8", "#b3261e", "#1b7f3b", "#1f2328", "#59636e",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Row:
    """
    One bar.

    :param name: of who it is
    :param rate: leads a second
    :param death: what a kill did; None where none was tried
    :param ours: whether it is this provider
    """

    name: str
    rate: float
    death: Death | None
    ours: bool = False


def svg(rows: Sequence[Row]) -> str:
    """Draw the rows, top to bottom, on one scale from nothing; return an SVG document."""
    height = _TOP + _ROW * len(rows) + 12
    parts = [
        words(16, 28, "Leads sent and recorded, a second", size=16, weight="bold"),
        words(_DOUBLED, 28, "when killed in the middle", colour=_FAINT, anchor="end"),
        words(_LOST, 58, "lost", colour=_FAINT, anchor="end"),
        words(_DOUBLED, 58, "sent twice", colour=_FAINT, anchor="end"),
    ]
    most = max(row.rate for row in rows)
    for place, row in enumerate(rows):
        parts += _bar(row, _TOP + _ROW * place, most)
    return document(_WIDTH, height, parts)


def _bar(row: Row, top: float, most: float) -> Iterator[str]:
    weight = "bold" if row.ours else "normal"
    length = max(2.0, row.rate / most * _SCALE)
    shown = f"{row.rate:,.0f}" if row.rate >= 10 else f"{row.rate:.1f}"
    yield words(_LEFT - 12, top + 17, row.name, weight=weight, anchor="end")
    yield box(_LEFT, top, length, 24, _OURS if row.ours else _PEER)
    yield words(_LEFT + length + 8, top + 17, shown, weight=weight)
    if row.death is None:
        yield words(_DOUBLED, top + 17, "not tried", colour=_FAINT, anchor="end")
        return
    lost, doubled = row.death.lost, row.death.doubled
    yield words(_LOST, top + 17, f"{lost:,}", colour=_BAD if lost else _GOOD, anchor="end")
    yield words(_DOUBLED, top + 17, f"{doubled:,}", colour=_TEXT, anchor="end")
