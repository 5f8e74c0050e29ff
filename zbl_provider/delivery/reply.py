"""What comes back on a connection, read as HTTP/1.1 as far as it is needed. No I/O."""

from __future__ import annotations

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from zbl_provider.delivery.exchange import EXCERPT_BYTES

MAX_BYTES: Final = 256 * 1024
"""What may come in all: 1xx answers, headers, and how chunks are framed, too (Contract 7.3)."""

_LENGTH, _CODING = b"content-length", b"transfer-encoding"
_KEPT: Final = frozenset({_LENGTH, _CODING, b"content-encoding", b"retry-after"})
_INFORMATION: Final = range(100, 200)
_SWITCHING_PROTOCOLS: Final = 101


class NotHttpError(Exception):
    """Bytes that are no HTTP answer, or one whose headers do not end."""


class Reply:
    """
    One answer, fed as it arrives; llhttp, the parser of Node.js, takes it apart.

    The outcome stands with the headers: what comes after them may be broken, endless or missing
    (Contract 2.4).

    :ivar status: the final status, once the headers are there; 0 before
    :ivar body: the start of the body, at most 4 KiB
    :ivar whole: whether that is all of it
    :ivar done: whether nothing more is to be read
    :ivar reusable: whether the connection can carry another request
    """

    __slots__ = (
        "_fields", "_impossible", "_parser", "_seen",
        "body", "done", "reusable", "status", "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser = HttpResponseParser(self)
        # An answer that is read strictly is one lead sent five times. Where length and chunks are
        # both given, the chunks count (RFC 9112, section 6.3), and lines may end without CR (2.2).
        self._parser.set_dangerous_leniencies(
            lenient_chunked_length=True, lenient_optional_cr_before_lf=True
        )
        self._fields: dict[bytes, bytes] = {}
        self._seen = 0
        self._impossible = False
        self.status = 0
        self.body = b""
        self.whole = False
        self.done = False
        self.reusable = False

    def field(self, name: bytes) -> str | None:
        """
        Look up a header that matters here.

        :param name: in lower case
        :returns: its value; None where it is absent, or not ASCII
        """
        value = self._fields.get(name)
        return value.decode() if value is not None and value.isascii() else None

    def feed(self, data: bytes) -> None:
        """
        Read on.

        :param data: what has arrived
        :raises NotHttpError: if it can't become an answer any more
        """
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # who switches protocols has answered
        except HttpParserError:
            self._break_off()
        self._seen += len(data)
        if self._seen > MAX_BYTES and not self.done:
            self._break_off()
        if self._impossible:
            raise NotHttpError

    def end(self, *, in_order: bool) -> None:
        """
        Take note that no more will come.

        :param in_order: whether the peer has closed, which ends a body that has no other end
        """
        if in_order and not self._fields.keys() & {_LENGTH, _CODING}:
            self.whole = True
        self.done, self.reusable = True, False

    def _break_off(self) -> None:
        self._impossible = not self.status
        self.done, self.reusable = True, False

    # What the parser calls.

    def on_message_begin(self) -> None:
        """Begin an answer; after the final one nothing should come."""
        if self.status:
            self.reusable = False
        else:
            self._fields.clear()

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep what matters; of the final answer, not of what follows it."""
        name = name.lower()
        if name in _KEPT and not self.status:
            self._fields[name] = value

    def on_headers_complete(self) -> None:
        """Let the outcome stand, unless this only informs."""
        status = self._parser.get_status_code()
        if self.status or (status in _INFORMATION and status != _SWITCHING_PROTOCOLS):
            return
        self.status = status if status >= _INFORMATION.start else 0
        self._impossible = not self.status
        self.done = status == _SWITCHING_PROTOCOLS

    def on_body(self, data: bytes) -> None:
        """Take the start of the body."""
        if not self.done:
            room = EXCERPT_BYTES - len(self.body)
            self.body += data[:room]
            self.done = len(data) > room

    def on_message_complete(self) -> None:
        """End the answer, if it is the final one."""
        if self.status and not self.done:
            self.done = self.whole = True
            self.reusable = self._parser.should_keep_alive()
