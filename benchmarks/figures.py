"""What a benchmark says: figures, each with its goal, and the table of all of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """
    One measured value beside what it is meant to be.

    :param name: what was measured
    :param value: what was seen
    :param unit: of all three values; ``x`` for a ratio, empty for a count
    :param goal: what it is meant to be
    :param bound: beyond it, what was measured counts as not done
    :param more_is_better: whether a greater value is a better one
    :param note: the peer it is compared with, and under what circumstances
    """

    name: str
    value: float
    unit: str
    goal: float
    bound: float
    more_is_better: bool = False
    note: str = ""

    @property
    def verdict(self) -> str:
        """Where the value lies, in words."""
        if self._as_good_as(self.goal):
            return "reached"
        return "within the bound" if self._as_good_as(self.bound) else "not done"

    def _as_good_as(self, wanted: float) -> bool:
        # Judged as it is shown: nobody can see the digits behind.
        value, wanted = float(f"{self.value:.3g}"), float(wanted)
        return value >= wanted if self.more_is_better else value <= wanted

    def show(self, value: float) -> str:
        """Return one of the three values with the unit."""
        digits = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"
        return f"{digits} {self.unit}".strip()


HEADS = ("figure", "goal", "counts as not done", "seen", "verdict", "how")


def table(figures: Iterable[Figure]) -> str:
    """Return figures as a Markdown table that can be read as it is, too."""
    rows = [HEADS, *(_row(figure) for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    head, *body = (_line(row, widths) for row in rows)
    return "\n".join([head, "|" + "|".join("-" * (width + 2) for width in widths) + "|", *body])


def _row(figure: Figure) -> tuple[str, ...]:
    beyond = "under" if figure.more_is_better else "over"
    return (
        figure.name,
        figure.show(figure.goal),
        f"{beyond} {figure.show(figure.bound)}",
        figure.show(figure.value),
        figure.verdict,
        figure.note,
    )


def _line(row: Sequence[str], widths: Sequence[int]) -> str:
    return (
        "| "
        + " | ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True))
        + " |"
    )
