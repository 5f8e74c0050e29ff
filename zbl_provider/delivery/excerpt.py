"""The start of an answer's body as text that is safe to keep and to show."""

from __future__ import annotations

import html
import json
import re
from codecs import utf_8_decode
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, unquote

from zbl_provider.delivery.http.reply import EXCERPT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from zbl_provider.delivery.destination import Destination

_MASK: Final = "***"
# Shorter values ("1", "pt") are no secrets, and masking them would make every answer unreadable.
_MIN_SECRET_CHARS: Final = 4


class Excerpts:
    """
    Turns bodies into excerpts for one destination.

    Many receivers answer with what they were sent. So what is secret in the request, its header
    values, the URL's path and query, is masked in the answer (Contract 1.5).

    :param destination: whose secrets those are
    """

    __slots__ = ("_mask", "_secrets")

    def __init__(self, destination: Destination) -> None:
        spellings = {spelt for secret in destination.secrets() for spelt in _spellings(secret)}
        # The longest first: the whole URL before its path, or half of it would stay.
        self._secrets = sorted(spellings, key=len, reverse=True)
        self._mask = re.compile("|".join(map(re.escape, self._secrets)) or r"(?!)")

    def text(self, body: bytes, *, whole: bool) -> str:
        """
        Make an excerpt (Contract 2.4 and 7.3).

        :param body: the body's start; more than 4 KiB are cut off
        :param whole: whether the body ends there
        :returns: at most 4 KiB of text, with nothing invisible in it
        """
        whole = whole and len(body) <= EXCERPT_BYTES
        # Half a character at the cut is left out: half a secret before it must be at the end.
        decoded, _ = utf_8_decode(body[:EXCERPT_BYTES], "replace", whole)
        text = self._mask.sub(_MASK, decoded)
        if not whole:
            text = self._without_cut_secret(text)
        text = text.replace("\r\n", "\n")
        if not text.replace("\n", "").isprintable():
            text = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
        # The character that replaces an unreadable byte has three.
        return text.encode()[:EXCERPT_BYTES].decode("utf-8", "ignore")

    def _without_cut_secret(self, text: str) -> str:
        """Take off the beginning of a secret that the body's end has cut in two."""
        for secret in self._secrets:
            for length in range(min(len(secret) - 1, len(text)), _MIN_SECRET_CHARS - 1, -1):
                if text.endswith(secret[:length]):
                    return text[:-length] + _MASK
        return text


def _spellings(secret: str) -> Iterable[str]:
    """Give a secret as it stands, and as JSON, PHP's JSON, HTML and URLs spell it."""
    if len(secret) < _MIN_SECRET_CHARS:
        return
    as_json = json.dumps(secret)[1:-1]
    yield from (
        secret,
        as_json,
        as_json.replace("/", "\\/"),
        json.dumps(secret, ensure_ascii=False)[1:-1],
    )
    yield from (html.escape(secret), unquote(secret), quote(secret, safe=""), quote(secret))
