"""A body of the destination's own shape, in place of the standard payload (Contract 2.7)."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final

import orjson

from zbl_provider.exceptions import without_context
from zbl_provider.leads.expressions import Rendering, compile_text, refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zbl_provider.leads.expressions import Render

MAX_BYTES: Final = 65_536
"""Of the document with its expressions, as JSON."""

_MAX_DEPTH: Final = 32
_MARKS: Final = ("{{", "{%", "{#")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")


class Body:
    """
    A JSON document with expressions over ``lead`` and ``list``, compiled once.

    :param document: a JSON object or array; of its texts those with ``{{`` are rendered for each
        lead. A text that is one expression alone keeps the expression's type
    :raises ConfigurationError: naming the place of what cannot be compiled; no text is shown
    """

    __slots__ = ("_build", "_source")

    @without_context
    def __init__(self, document: object) -> None:
        if not isinstance(document, dict | list):
            remedy = 'Write one, such as {"email": "{{ lead.email }}"}'
            raise refusal("body", "is not a JSON object", remedy)
        self._build = _compile(document, "body", 0)
        try:
            self._source = orjson.dumps(document)
        except TypeError:  # half a surrogate pair, or an integer beyond 64 bits
            remedy = "Correct its texts and numbers"
            raise refusal("body", "cannot be written as JSON in UTF-8", remedy) from None
        if len(self._source) > MAX_BYTES:
            raise refusal("body", "is over 64 KiB", "Make it smaller")

    @property
    def size(self) -> int:
        """Bytes of the document with its expressions, as JSON."""
        return len(self._source)

    def render(self, document: Mapping[str, object]) -> object:
        """
        Make one lead's body.

        :param document: as from :func:`zbl_provider.leads.payload.document`
        :return: JSON values
        :raises InvalidLead: with the place in the body, if it cannot be rendered for this lead
        """
        return self._build(Rendering(document))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Body) and self._source == other._source

    def __hash__(self) -> int:
        return hash(self._source)


def _compile(value: object, place: str, depth: int) -> Render:
    """Turn one value of the document into what makes it for a lead."""
    if depth > _MAX_DEPTH:
        raise refusal(place, "is nested too deeply", f"Nest at most {_MAX_DEPTH} deep")
    if isinstance(value, dict):
        members = [
            (key, _compile(inner, _member(place, key), depth + 1)) for key, inner in value.items()
        ]
        return lambda lead: {key: render(lead) for key, render in members}
    if isinstance(value, list | tuple):
        items = [
            _compile(inner, f"{place}[{index}]", depth + 1) for index, inner in enumerate(value)
        ]
        return lambda lead: [render(lead) for render in items]
    if isinstance(value, str) and any(mark in value for mark in _MARKS):
        return compile_text(value, place)
    if isinstance(value, float) and not math.isfinite(value):  # such as 1e999
        raise refusal(place, "is not a finite number", "Write a smaller one")
    return lambda _: value


def _member(place: str, key: object) -> str:
    if not isinstance(key, str) or any(mark in key for mark in _MARKS):
        raise refusal(place, "has an expression in a key", "Write expressions in values only")
    return f"{place}.{key}" if _NAME.fullmatch(key) else f"{place}[…]"
