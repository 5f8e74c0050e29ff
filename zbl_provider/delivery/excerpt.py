"""The start of an answer's body as text that is safe to keep and to show."""

from __future__ import annotations

import html
import re
from codecs import utf_8_decode
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

from zbl_provider.delivery.http.reply import EXCERPT_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from zbl_provider.delivery.destination import Destination

_MASK: Final = "***"
# Shorter values ("1", "pt") are no secrets, and masking them would make every answer unreadable.
_MIN_SECRET_CHARS: Final = 4
# One character, as JSON, HTML and URLs spell it. Which characters they spell so differs: Go's JSON
# does it with "&", .NET's with "+", Gson's with "=".
_ESCAPE: Final = re.compile(
    r"""
    \\u[0-9A-Fa-f]{4} | \\["'\\/tnr]
    | &(?:amp|lt|gt|quot|apos|\#[0-9]{1,6}|\#[xX][0-9A-Fa-f]{1,5});
    | %[CDcd][0-9A-Fa-f]%[89ABab][0-9A-Fa-f]
    | %[Ee][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){2}
    | %[Ff][0-9A-Fa-f](?:%[89ABab][0-9A-Fa-f]){3}
    | %[0-9A-Fa-f]{2}
    """,
    re.VERBOSE,
)
_MAY_BE_ESCAPED: Final = re.compile(r"[\\&%+]")
# The beginning of one, where the body's end has cut it in two.
_CUT_ESCAPE: Final = re.compile(
    r"(?:\\+u?[0-9A-Fa-f]{0,3}|&\#?\w{0,6}|(?:%[0-9A-Fa-f]{0,2}){1,4})\Z"
)
# JSON within JSON, or a URL within a URL, is escaped twice. A hostile answer may go on for ever.
_MAX_LAYERS: Final = 4
_IN_JSON: Final = {"t": "\t", "n": "\n", "r": "\r"}
_PLUS_IS_SPACE: Final = {ord("+"): " "}  # as forms and queries are read


class Excerpts:
    """
    Turns bodies into excerpts for one destination.

    Many receivers answer with what they were sent. So what is secret in the request, its header
    values, the URL's path and query, is masked in the answer (Contract 1.5), however the receiver
    spells it.

    :param destination: whose secrets those are
    """

    __slots__ = ("_mask", "_secrets")

    def __init__(self, destination: Destination) -> None:
        spellings = {
            spelt for secret in destination.secrets() for spelt, _ in _without_escapes(secret)
        }
        # The longest first: the whole URL before its path, or half of it would stay.
        self._secrets = sorted(
            (spelt for spelt in spellings if len(spelt) >= _MIN_SECRET_CHARS), key=len, reverse=True
        )
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
        text, _ = utf_8_decode(body[:EXCERPT_BYTES], "replace", whole)
        if spans := sorted(self._secret_spans(text, whole=whole)):
            text = _masked(text, spans)
        text = text.replace("\r\n", "\n")
        if not text.replace("\n", "").isprintable():
            text = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
        # The character that replaces an unreadable byte has three.
        return text.encode()[:EXCERPT_BYTES].decode("utf-8", "ignore")

    def _secret_spans(self, text: str, *, whole: bool) -> Iterable[tuple[int, int]]:
        """Find what is secret, as it stands and behind its escapes, and what a cut has left."""
        for plain, places in _without_escapes(text):
            for found in self._mask.finditer(plain):
                yield places[found.start()], places[found.end()]
        if not whole:
            for end in {len(text), len(_CUT_ESCAPE.sub("", text))}:
                for plain, places in _without_escapes(text[:end]):
                    if (start := self._cut_secret(plain)) is not None:
                        yield places[start], len(text)

    def _cut_secret(self, text: str) -> int | None:
        """Find the beginning of a secret at the end of a text."""
        for secret in self._secrets:
            for length in range(min(len(secret) - 1, len(text)), _MIN_SECRET_CHARS - 1, -1):
                if text.endswith(secret[:length]):
                    return len(text) - length
        return None


def _masked(text: str, spans: Sequence[tuple[int, int]]) -> str:
    """Put the mask in the place of each span, and of those that overlap together."""
    pieces, shown_from = [], 0
    for start, end in spans:
        if start >= shown_from:
            pieces += [text[shown_from:start], _MASK]
        shown_from = max(shown_from, end)
    return "".join([*pieces, text[shown_from:]])


def _without_escapes(text: str) -> Iterator[tuple[str, Sequence[int]]]:
    """
    Give a text as it stands, then without its escapes, then without those that were within them.

    :returns: each of them, and where its characters, and its end, are in the given one
    """
    places: Sequence[int] = range(len(text) + 1)
    yield text, places
    if not _MAY_BE_ESCAPED.search(text):
        return
    for _ in range(_MAX_LAYERS):
        yield text.translate(_PLUS_IS_SPACE), places
        pieces: list[str] = []
        moved: list[int] = []
        read_to = 0
        for escape in _ESCAPE.finditer(text):
            start, character = escape.start(), _unescaped(escape[0])
            pieces += [text[read_to:start], character]
            moved += [*places[read_to:start], *[places[start]] * len(character)]
            read_to = escape.end()
        if not read_to:
            return
        text = "".join([*pieces, text[read_to:]])
        places = [*moved, *places[read_to:]]
        yield text, places


def _unescaped(escape: str) -> str:
    if escape.startswith("%"):
        return unquote(escape)
    if escape.startswith("&"):
        return html.unescape(escape)
    if escape.startswith("\\u"):
        return chr(int(escape.removeprefix("\\u"), base=16))
    return _IN_JSON.get(escape[1], escape[1])
