"""
Record the demo as a picture that moves: `python tools/record_demo.py docs/images/demo.svg`.

The picture is an SVG with nothing but text and CSS: a repository's page and an index show it as an
image, where no script runs and nothing is loaded. Waits are shortened; the times in it are true.
It begins with the end of the run, which is what a preview shows that does not move.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rich.segment import Segment

ROOT = Path(__file__).parents[1]
COMMAND = "make demo ONCE=1"
COLUMNS, ROWS = 92, 26
_CELL_WIDTH, _CELL_HEIGHT, _MARGIN = 8.4, 19, 16  # px
_LONGEST_WAIT, _LAST_FRAME = 1.0, 8.0  # s
_AT_FIRST = 3.0  # s of the last frame, before the first line
_COLOURS = {1: ("red", "#ff7b72"), 2: ("green", "#56d364"), 3: ("yellow", "#e3b341")}  # ANSI's
_INDENT = 8  # of what goes on in a second line, past the time
_FRAME = """<svg xmlns="http://www.w3.org/2000/svg" width="{width:g}" height="{height:g}" \
viewBox="0 0 {width:g} {height:g}" role="img">
<title>{title}</title>
<style>
text {{ font: 14px ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; \
fill: #e6edf3; white-space: pre }}
.bold {{ font-weight: bold }} .dim {{ fill: #8b949e }}
{colours}
g {{ animation: {duration:g}s step-end {delay:g}s infinite }}
{animations}
@media (prefers-reduced-motion: reduce) {{ g {{ animation: none !important }} }}
</style>
<rect width="100%" height="100%" rx="8" fill="#0d1117"/>
<svg x="{margin}" y="{margin}" width="{inner:g}" height="{inside:g}">
<g id="all" transform="translate(0 {end:g})">
{rows}
</g>
</svg>
</svg>
"""


@dataclass(frozen=True, slots=True)
class Line:
    """A line of the terminal.

    :param at: seconds from the start of the picture.
    :param text: what it says, with its colours.
    """

    at: float
    text: Text


def record() -> Iterator[tuple[float, str]]:
    """Run the demo, and give each line that it prints, with its time in seconds."""
    environment = os.environ | {
        "COLUMNS": str(COLUMNS),
        "DEMO_STARTED": str(int(time.time())),
        "FORCE_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "TERM": "xterm-256color",
    }
    command = [sys.executable, "-m", "demo", "--once"]
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
            yield time.monotonic(), line.rstrip("\n")
    if process.returncode:
        sys.exit("The demo failed: no picture was drawn")


def shortened(printed: Iterable[tuple[float, str]]) -> list[Line]:
    """Wrap long lines as a terminal does, and shorten the waits between lines."""
    lines = [Line(0.0, Text.assemble(("$ ", "dim"), (COMMAND, "bold")))]
    before, at = None, 0.0
    for when, ansi in printed:
        at += min(when - before, _LONGEST_WAIT) if before is not None else _LONGEST_WAIT
        before = when
        lines += [Line(at, text) for text in _wrapped(Text.from_ansi(ansi))]
    return lines


def _wrapped(text: Text) -> list[Text]:
    if len(text) <= COLUMNS:
        return [text]
    first, *others = text.wrap(Console(width=COLUMNS), COLUMNS - _INDENT)
    return [first, *(Text(" " * _INDENT) + other for other in others)]


def draw(lines: list[Line]) -> str:
    """Return the SVG in which each line appears at its time, and the lines before it move up."""
    duration = lines[-1].at + _LAST_FRAME
    shown: list[str] = []
    moves: dict[str, str] = {}
    for row, line in enumerate(lines):
        start = f"{100 * line.at / duration:.2f}%"
        moves[start] = f"{start} {{ transform: translateY({_top(row):g}px) }}"
        shown.append(f"@keyframes r{row} {{ 0% {{ opacity: 0 }} {start}, 100% {{ opacity: 1 }} }}")
        shown.append(f"#r{row} {{ animation-name: r{row} }}")
    shown.append(f"@keyframes all {{ {' '.join(moves.values())} }}")
    shown.append("#all { animation-name: all }")
    rows = (f'<g id="r{row}">{_drawn(line.text, row)}</g>' for row, line in enumerate(lines))
    inner, inside = COLUMNS * _CELL_WIDTH, ROWS * _CELL_HEIGHT
    return _FRAME.format(
        width=inner + 2 * _MARGIN,
        height=inside + 2 * _MARGIN,
        inner=inner,
        inside=inside,
        margin=_MARGIN,
        title="A run of the demo: leads go out, some fail, one connection is corrected, all arrive",
        colours=" ".join(f".{name} {{ fill: {colour} }}" for name, colour in _COLOURS.values()),
        duration=duration,
        delay=_AT_FIRST - duration,
        animations="\n".join(shown),
        end=_top(len(lines) - 1),
        rows="\n".join(rows),
    )


def _top(last: int) -> float:
    """Return how far up, in px, all lines are when the one of that index is the last."""
    return -max(last + 1 - ROWS, 0) * _CELL_HEIGHT


def _drawn(text: Text, row: int) -> str:
    baseline = row * _CELL_HEIGHT + 14
    parts, column = [], 0
    for segment in text.render(Console(width=COLUMNS, color_system="standard")):
        width = len(segment.text)
        if segment.text.strip():
            # Fonts differ in width: so columns keep their places.
            place = f'x="{column * _CELL_WIDTH:g}" y="{baseline}"'
            length = f'textLength="{width * _CELL_WIDTH:g}" lengthAdjust="spacingAndGlyphs"'
            parts.append(f"<text {place} {length}{_classes(segment)}>{escape(segment.text)}</text>")
        column += width
    return "".join(parts)


def _classes(segment: Segment) -> str:
    style = segment.style
    if style is None:
        return ""
    names = [name for name in ("bold", "dim") if getattr(style, name)]
    if style.color and style.color.number in _COLOURS:
        names.append(_COLOURS[style.color.number][0])
    return f' class="{" ".join(names)}"' if names else ""


if __name__ == "__main__":
    Path(sys.argv[1]).write_text(draw(shortened(record())), encoding="utf-8")
