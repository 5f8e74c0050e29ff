"""What every database takes for a text."""

from __future__ import annotations

from typing import overload


@overload
def storable(words: str) -> str: ...
@overload
def storable(words: None) -> None: ...
def storable(words: str | None) -> str | None:
    """Return a text without NUL and lone surrogates."""
    if words is None or words.isprintable():
        return words
    return words.replace("\0", "\N{SYMBOL FOR NULL}").encode("utf-8", "replace").decode()
