"""A guide's steps: the files that it has people save, and the commands that it has them type."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

_FENCE = re.compile(r"^```(\w+)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_NAME = re.compile(r"`([\w/-]+\.(?:py|sh|yaml))`")


@dataclass(frozen=True, slots=True)
class File:
    """What to save, and under which name."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """What to type, and lines that it prints among others; `…` stands for anything."""

    line: str
    prints: tuple[str, ...] = ()

    def missing(self, output: str) -> list[str]:
        """Return the lines that are not in what was printed, however wide its columns are."""
        printed = " ".join(output.split())
        return [line for line in self.prints if not re.search(_pattern(line), printed)]


def _pattern(line: str) -> str:
    parts = (re.escape(" ".join(part.split())) for part in line.split("…"))
    return ".*?".join(parts)


def steps(markdown: str) -> Iterator[File | Command]:
    """Give the steps of a guide in their order.

    A block of `console` has commands behind `$`, each followed by what it prints; a backslash at a
    line's end joins the next to it. Any other block is a file; its name is the last one in the
    words before it.
    """
    end = 0
    for fence in _FENCE.finditer(markdown):
        language, text = fence.groups()
        if language == "console":
            yield from _commands(text)
        else:
            yield File(_NAME.findall(markdown[end : fence.start()])[-1], text)
        end = fence.end()


def _commands(text: str) -> Iterator[Command]:
    joined = re.sub(r"\\\n *", "", text)
    for typed in re.split(r"^\$ ", joined, flags=re.MULTILINE)[1:]:
        line, *prints = typed.splitlines()
        yield Command(line, tuple(prints))
