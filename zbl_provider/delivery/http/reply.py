"""What comes back on a connection, read as HTTP/1.1 as far as it is needed. No I/O."""

from __future__ import annotations

import re
from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

SUCCESS: Final = range(200, 300)
"""Statuses of answers that accept a request (RFC 9110, 15.3)."""

MAX_BYTES: Final = 256 * 1024
"""What may come in all: 1xx answers, headers, and how chunks are framed, too (Contract 7.3)."""

EXCERPT_BYTES: Final = 4096
"""How much of an answer's body is kept, at most (Contract 2.4)."""

_NEAR_BYTES: Final = 64 * 1024
"""How long a body may be for its rest to be read, so that the connection can be kept (2.4)."""

_LENGTH, _CODING, _KEEP_ALIVE = b"content-length", b"transfer-encoding", b"keep-alive"
_KEPT: Final = frozenset(
    {_LENGTH, _CODING, _KEEP_ALIVE, b"content-encoding", b"location", b"retry-after"}
)
_INFORMATION: Final = range(100, 200)
_SWITCHING_PROTOCOLS: Final = 101
_WITHOUT_BODY: Final = frozenset({204, 304})
_STATUS_LINE: Final = re.compile(rb"[\r\n]*HTTP/1\.[0-9][ \t]+([1-9][0-9]{2})(?=[ \t\r\n]|$)")
# Lines end with LF, whatever number of CRs stands before it.
_HEAD_END: Final = re.compile(rb"\n\r*\n")
_KEEP_ALIVE_SECONDS: Final = re.compile(r"(?:^|[\s,;])timeout\s*=\s*\"?(\d{1,9})", re.IGNORECASE)


_NOTHING: Final = bytearray()  # shared, and never written to


class NotHttpError(Exception):
    """
    Bytes that are not an HTTP/1.1 answer, or one whose headers do not end.

    :param start: the first bytes that came
    """

    def __init__(self, start: bytes = b"") -> None:
        super().__init__()
        self.start = start


class Reply:
    """
    One answer, fed as it arrives; llhttp, the parser of Node.js, takes it apart.

    The outcome stands with the headers: what comes after them may be broken, endless or missing
    (Contract 2.4). Where llhttp finds fault with the headers, the status line has the last word, as
    it has in browsers and in `requests` (Contract 2.8).

    :ivar status: the final status, once the headers are there; 0 before
    :ivar body: the start of the body, at most 4 KiB
    :ivar whole: whether that is all of it
    :ivar done: whether nothing more is to be read
    :ivar complete: whether it has come to its own end
    :ivar reusable: whether the connection can carry another request
    :ivar begun: whether anything has come at all
    :ivar informed: whether an answer that only informs (1xx) has come, which is one to this request
    """

    __slots__ = (
        "_body_bytes", "_distant", "_fields", "_head", "_impossible", "_length", "_parser",
        "_searched", "_seen", "_sloppy", "begun", "body", "complete", "done", "informed",
        "reusable", "status", "whole",
    )  # fmt: skip

    def __init__(self) -> None:
        self._parser = self._new_parser()
        self._fields: dict[bytes, bytes] = {}
        self._head = bytearray()  # what has come, as long as the headers are not whole
        self._searched = 0
        self._seen = 0
        self._body_bytes = 0
        self._distant = False
        self._length: int | None = None  # where the parser ignores it
        self._impossible = False
        self._sloppy = False
        self.begun = False
        self.informed = False
        self.status = 0
        self.body = b""
        self.whole = False
        self.done = False
        self.complete = False
        self.reusable = False

    def _new_parser(self) -> HttpResponseParser:
        parser = HttpResponseParser(self)
        # Where length and chunks are both given, the chunks count (RFC 9112, section 6.3), lines
        # may end without CR (section 2.2), and old servers pad the sizes of chunks with blanks.
        parser.set_dangerous_leniencies(
            lenient_chunked_length=True,
            lenient_optional_cr_before_lf=True,
            lenient_spaces_after_chunk_size=True,
        )
        return parser

    def field(self, name: bytes) -> str | None:
        """
        Look up a header that matters here.

        :param name: in lower case
        :returns: its value; None where it is absent, or not ASCII
        """
        value = self._fields.get(name)
        return value.decode() if value is not None and value.isascii() else None

    @property
    def keep_alive_seconds(self) -> float | None:
        """How long the server says that it keeps the connection (`Keep-Alive: timeout=`)."""
        value = self.field(_KEEP_ALIVE)
        said = _KEEP_ALIVE_SECONDS.search(value) if value else None
        return float(said[1]) if said else None

    def feed(self, data: bytes) -> None:
        """
        Read on.

        :param data: what has arrived
        :raises NotHttpError: if it can't become an answer any more
        """
        if self.done:  # what follows was not asked for; line ends do no harm
            self.reusable = self.reusable and not data.strip(b"\r\n")
        else:
            self._take(data)
        if self._impossible:
            raise NotHttpError(bytes(self._head[:64]))

    def _take(self, data: bytes) -> None:
        self.begun = True
        self._seen += len(data)
        if self._sloppy or not self.status:
            self._head += data
        if not self._sloppy:
            self._parse(data)
        if self._sloppy and not self.status:
            self._read_sloppily()
        if self._seen > MAX_BYTES and not self.done:
            self._break_off()
        if self.done:
            del self._parser  # the two hold each other, and would wait for the garbage collector

    def end(self, *, in_order: bool) -> None:
        """
        Take note that no more will come.

        :param in_order: whether the peer has closed, which ends a body that has no other end, and
            a head that lacks its last line end
        """
        if in_order and not self.status:
            # A status line alone, or half a name, is a head that broke off.
            line = _STATUS_LINE.match(self._head)
            lines = re.split(rb"[\r\n]+", self._head[line.end() :].rstrip(b"\r\n")) if line else []
            if line and len(lines) > 1 and b":" in lines[-1] and self._is_final(int(line[1])):
                self._take_sloppy(int(line[1]), b"\n".join(map(bytes, lines[1:])), b"")
        elif in_order and self._is_endless:
            self.whole = True
        self.done, self.reusable = True, False

    def _parse(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            pass  # a server that switches protocols has answered
        except HttpParserError:
            if self.status:
                self._break_off()
            else:
                self._sloppy = True

    def _break_off(self) -> None:
        self._impossible = not self.status
        self.done, self.reusable = True, False

    def _read_sloppily(self) -> None:
        """Let the status line decide, once the head is whole; the connection is closed then."""
        while self._sloppy and not self.status:
            head = self._head
            line = _STATUS_LINE.match(head)
            if line is None:
                start = head.lstrip(b"\r\n")  # of which a status line may still come
                self._impossible = b"HTTP/1."[: len(start)] != start[:7] or b"\n" in start
                return
            # Not from the start each time: headers may come byte by byte, and CRs without end.
            begin = max(line.end(), head.rfind(b"\n", 0, self._searched))
            may_end = b"\n" in head[self._searched :]
            end = _HEAD_END.search(head, begin) if may_end else None
            self._searched = len(head)
            if end is None:
                return
            rest = bytes(head[end.end() :])
            if self._is_final(int(line[1])):
                self._take_sloppy(int(line[1]), bytes(head[line.end() : end.start()]), rest)
            else:  # it only informs: what follows it is for a parser that has seen nothing
                self.informed = True
                self._parser = self._new_parser()
                self._sloppy, self._searched = False, 0
                self._head = bytearray(rest)
                self._parse(rest)

    def _take_sloppy(self, status: int, head: bytes, rest: bytes) -> None:
        self._fields = {
            name.strip().lower(): value.strip()
            for name, colon, value in (line.partition(b":") for line in head.split(b"\n"))
            if colon and name.strip().lower() in _KEPT
        }
        self.status = status
        self.body = rest[:EXCERPT_BYTES]
        self.done, self.reusable = True, False

    @staticmethod
    def _is_final(status: int) -> bool:
        return status not in _INFORMATION or status == _SWITCHING_PROTOCOLS

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
        if self.status:
            return
        if not self._is_final(status):
            self.informed = True
            return
        if status < _INFORMATION.start or not self._head.lstrip(b"\r\n").startswith(b"HTTP/"):
            self._impossible = True  # llhttp reads RTSP and ICE, too
            return
        self.status = status
        self.done = status == _SWITCHING_PROTOCOLS
        self._head = _NOTHING
        length = self._fields.get(_LENGTH, b"0")
        self._distant = not length.isdigit() or int(length) > _NEAR_BYTES
        has_both = _LENGTH in self._fields and _CODING in self._fields
        if has_both and not self._distant and b"chunked" not in self._fields[_CODING].lower():
            # Such as "identity": to llhttp only the connection's end ends it, to `requests` and
            # curl the length does.
            self._length = int(length)
            self.on_body(b"")

    def on_body(self, data: bytes) -> None:
        """Take the start of the body, and let the rest pass if its end is near."""
        if self.done or not self.status:  # the body of an answer that only informs
            return
        self._body_bytes += len(data)
        self.body += data[: EXCERPT_BYTES - len(self.body)]
        limit = EXCERPT_BYTES if self._distant or self._is_endless else _NEAR_BYTES
        self.done = self._body_bytes > limit
        if self._length is not None and self._body_bytes >= self._length:
            self.body = self.body[: self._length]
            self.done = self.complete = True
            self.whole = self._length <= EXCERPT_BYTES

    @property
    def _is_endless(self) -> bool:
        """Whether only the connection's end ends the body."""
        return not self._fields.keys() & {_LENGTH, _CODING}

    def on_message_complete(self) -> None:
        """End the answer, if it is the final one."""
        if not self.status or self.done:
            return
        self.done = self.complete = True
        self.whole = self._body_bytes <= EXCERPT_BYTES
        # Some servers send a 204 with a body: of such an answer more may follow.
        announces_body = _CODING in self._fields or self._fields.get(_LENGTH, b"0").strip(b"0")
        # HTTP/1.0 knows no chunks: where such an answer ends is not certain (RFC 9112, 6.1).
        is_faulty = _CODING in self._fields and self._parser.get_http_version() == "1.0"
        self.reusable = self._parser.should_keep_alive() and not (
            is_faulty or (self.status in _WITHOUT_BODY and announces_body)
        )
