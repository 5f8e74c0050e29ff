"""The table of docs/faults.md, from what the tests have counted."""

from __future__ import annotations

import os
import re
from collections import Counter
from typing import TYPE_CHECKING

from tests.servers.catalogue import CASES

if TYPE_CHECKING:
    from pathlib import Path

HEAD = """| server | leads come | leads | outcome | attempts beyond one | another outcome | lost | twice | connections |
|---|---|---|---|---|---|---|---|---|
"""  # noqa: E501  as wide as a table is
_PLACE = re.compile("(<!-- servers:[^>]*-->\n).*?(<!-- servers end -->)", re.DOTALL)
_FIGURES = ("leads", "extra_attempts", "wrong", "missing", "twice", "connections")


class Table:
    """Sums of the figures of every trial, by server and pace."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], Counter[str]] = {}

    def add(self, server: str, pace: str, figures: dict[str, int]) -> None:
        """Add what one trial has counted with one round trip."""
        self._sums.setdefault((server, pace), Counter()).update(figures)

    @property
    def is_whole(self) -> bool:
        """Whether every server has been tried at every pace."""
        return len(self._sums) == sum(len(case.paces) for case in CASES)

    def draw(self, path: Path) -> None:
        """Put the table in its place in a document."""
        rows = "".join(self._row(case, pace) for case in CASES for pace in case.paces)
        cores = f"\n{os.cpu_count()} cores.\n"
        text, drawn = _PLACE.subn(rf"\g<1>\n{HEAD}{rows}{cores}\n\g<2>", path.read_text())
        assert drawn == 1, f"{path} has no place for the table"
        path.write_text(text)

    def _row(self, case, pace) -> str:
        leads, *figures = (self._sums[str(case), str(pace)][name] for name in _FIGURES)
        cells = (case, pace, leads, case.outcome, *figures)
        return "| " + " | ".join(f"{x:,}" if isinstance(x, int) else str(x) for x in cells) + " |\n"
