"""The figures as a picture: a bar for each, on a ground that shows goal and bound."""

from __future__ import annotations

from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from benchmarks.figures import Figure

_WIDTH, _ROW, _TOP = 1000, 44, 66
_LEFT, _SCALE = 400, 400  # where the bars begin, and how long the longest may be
_GOOD, _FAIR, _POOR = "#cfe8d0", "#fdf0c4", "#f7d3cf"
_BAR, _GOAL, _BOUND, _TEXT, _FAINT = "#33475b", "#1b7f3b", "#b3261e", "#1f2328", "#59636e"
_LEGEND = ((_GOOD, "goal reached"), (_FAIR, "within the bound"), (_POOR, "not done"))


def svg(figures: Sequence[Figure], title: str) -> str:
    """
    Draw the figures, each on a scale of its own, since their units differ.

    :param figures: top to bottom
    :param title: names the machine
    :return: an SVG document
    """
    height = _TOP + _ROW * len(figures) + 10
    parts = [
        words(16, 26, title, size=16, weight="bold"),
        *_legend(),
    ]
    for place, figure in enumerate(figures):
        parts += _bar(figure, _TOP + _ROW * place)
    return document(_WIDTH, height, parts)


def document(width: int, height: int, parts: Iterable[str]) -> str:
    """Return an SVG document with a white ground, and the parts on it."""
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        f'width="{width}" height="{height}" font-family="Helvetica, Arial, sans-serif">'
    )
    return "\n".join([opening, box(0, 0, width, height, "#ffffff"), *parts, "</svg>", ""])


def _legend() -> Iterator[str]:
    for place, (colour, meaning) in enumerate(_LEGEND):
        left = 16 + 150 * place
        yield box(left, 38, 14, 14, colour)
        yield words(left + 20, 50, meaning, colour=_FAINT)
    yield words(_LEFT + _SCALE + 14, 50, "seen (goal | not done)", colour=_FAINT)


def _bar(figure: Figure, top: float) -> Iterator[str]:
    """Draw the ground, then the value over it, then where goal and bound are."""
    longest = max(abs(figure.value), figure.goal, figure.bound) * 1.2 or 1.0
    # A value under nothing is as good as nothing: a bar has no room to its left.
    value, goal, bound = (
        max(0.0, length) / longest * _SCALE for length in (figure.value, figure.goal, figure.bound)
    )
    near, far = sorted((goal, bound))
    grounds = (_POOR, _FAIR, _GOOD) if figure.more_is_better else (_GOOD, _FAIR, _POOR)
    edges = (0.0, near, far, float(_SCALE))
    for colour, start, end in zip(grounds, edges, edges[1:], strict=False):
        yield box(_LEFT + start, top, end - start, 26, colour)
    yield box(_LEFT, top + 8, max(value, 2), 10, _BAR)
    yield box(_LEFT + bound - 1, top - 2, 2, 30, _BOUND)
    yield box(_LEFT + goal - 1, top - 2, 2, 30, _GOAL)
    yield words(_LEFT - 10, top + 18, figure.name, anchor="end")
    right = _LEFT + _SCALE + 14
    yield words(right, top + 18, figure.show(figure.value), weight="bold")
    limits = f"({figure.show(figure.goal)} | {figure.show(figure.bound)})"
    yield words(right + 78, top + 18, limits, colour=_FAINT)


def box(left: float, top: float, width: float, height: float, colour: str) -> str:
    """Draw a rectangle."""
    return (
        f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="{height:.1f}" '
        f'fill="{colour}"/>'
    )


def words(
    left: float,
    top: float,
    text: str,
    *,
    colour: str = _TEXT,
    size: int = 13,
    weight: str = "normal",
    anchor: str = "start",
) -> str:
    """Write a line of text; ``top`` is its base line."""
    return (
        f'<text x="{left:.1f}" y="{top:.1f}" fill="{colour}" font-size="{size}" '
        f'font-weight="{weight}" text-anchor="{anchor}">{escape(text)}</text>'
    )
