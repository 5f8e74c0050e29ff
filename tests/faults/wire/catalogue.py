"""
What a destination can do to its sender: one entry a fault, with the outcome that Contract 3 asks.

An outcome is a verdict and its reason: the status where headers came, else the failure's kind.
Where two are named, the network decides which it is: a reset, say, overtakes an answer or not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tests.faults.wire import misdeeds as do
from tests.support.peers import (
    Authority,
    Behaviour,
    answer,
    drip,
    endless_body,
    endless_headers,
    gzip_bomb,
    raw,
    raw_then_close,
    raw_then_reset,
    raw_then_silence,
    response,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    import trustme

DELIVERED = ("delivered 200",)
TIMEOUT = ("retry timeout",)
RESET = ("retry reset",)
TLS = ("retry tls",)
PROTOCOL = ("retry protocol",)
REDIRECTED = ("error 302",)

HEAD = b"HTTP/1.1 200 OK\r\n"
MEBIBYTE = 2**20
PAUSE = 0.3


@dataclass(frozen=True)
class Fault:
    """
    One way to misbehave.

    :param name: what the destination does
    :param outcomes: what becomes of the lead
    :param request: what it does with a request, on a connection that has served others before
    :param connection: what it does with a connection instead of serving it
    :param certificate: the certificate it shows, by the authority that the sender trusts
    :param refuse: whether nobody listens
    :param body: how many bytes the lead has
    :param pause: seconds that the next lead lets pass
    """

    name: str
    outcomes: tuple[str, ...]
    request: Behaviour | None = None
    connection: do.Connection | None = None
    certificate: Callable[[Authority], trustme.LeafCert] | None = None
    refuse: bool = False
    body: int = 2
    pause: float = 0.0

    def __str__(self) -> str:
        return self.name

    @property
    def is_on_connecting(self) -> bool:
        """Whether a connection that is already open would not meet it."""
        return bool(self.refuse or self.connection or self.certificate)


CONNECTING = [
    Fault("refuses the connection", ("retry refused",), refuse=True),
    Fault("accepts and stays silent", TIMEOUT, connection=do.stay_silent()),
    Fault("closes on connecting", TLS, connection=do.stop()),
    Fault("resets on connecting", RESET, connection=do.reset_connection),
]

HANDSHAKE = [
    Fault("stalls in the TLS handshake", TIMEOUT,
          connection=do.stay_silent(b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76")),
    Fault("drips the TLS handshake", TIMEOUT,
          connection=do.drip_connection(b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xf0")),
    Fault("garbage in the TLS handshake", TLS, connection=do.stop(b"\x00\xff" * 500)),
    Fault("plain HTTP instead of TLS", TLS, connection=do.stop(response(400))),
    Fault("a fatal TLS alert", TLS, connection=do.stop(b"\x15\x03\x03\x00\x02\x02\x28")),
    Fault("an endless TLS handshake", TLS, connection=do.pour_connection(do.HANDSHAKE_RECORD)),
    Fault("certificate of another authority", TLS, certificate=lambda _: Authority().issue()),
    Fault("certificate that has expired", TLS, certificate=lambda ca: ca.issue(expired=True)),
    Fault("certificate of another name", TLS, certificate=lambda ca: ca.issue("other.test")),
]  # fmt: skip

REQUEST = [
    Fault("closes after the request", RESET, raw_then_close(b"")),
    Fault("resets after the request", RESET, raw_then_reset()),
    Fault("says nothing", TIMEOUT, raw_then_silence()),
    Fault("never reads the request", TIMEOUT, connection=do.never_read(), body=MEBIBYTE),
    Fault("answers before it reads the request", DELIVERED,
          connection=do.never_read(response()), body=MEBIBYTE, pause=PAUSE),
    Fault("answers before it reads the request, and closes", DELIVERED,
          connection=do.answer_unread_and_close(response()), pause=PAUSE),
    Fault("the same, with much of the request still to come", ("delivered 200", "retry reset"),
          connection=do.answer_unread_and_close(response()), body=MEBIBYTE, pause=PAUSE),
    Fault("two answers at once", DELIVERED, raw(response() + response(body=b"second"))),
]  # fmt: skip

HEADERS = [
    Fault("closes within the headers", RESET, raw_then_close(HEAD + b"X-")),
    Fault("resets within the headers", RESET, raw_then_reset(HEAD + b"X-")),
    Fault("stops within the headers", TIMEOUT, raw_then_silence(HEAD + b"X-")),
    Fault("drips headers", TIMEOUT, drip(b"X-Drip: 1\r\n" * 1000, 0.02, start=HEAD)),
    Fault("drips a status line", TIMEOUT, drip(b"a" * 10_000, 0.02, start=b"HTTP/1.1 200 ")),
    Fault("one endless header", PROTOCOL, do.pour(b"a" * 65536, start=HEAD + b"X-Long: ")),
    Fault("endlessly many headers", PROTOCOL, endless_headers),
    Fault("endlessly many short headers", PROTOCOL, do.pour(b"a: b\r\n" * 10_000, start=HEAD)),
    Fault("an endless status line", PROTOCOL, do.pour(b"a" * 65536, start=b"HTTP/1.1 200 ")),
    Fault("garbage", PROTOCOL, raw_then_close(b"\x00\xff" * 500)),
    Fault("endless garbage", PROTOCOL, do.pour(b"\x00\xff" * 32768)),
    Fault("another protocol", PROTOCOL, raw_then_close(b"SSH-2.0-OpenSSH_9.7\r\n")),
    Fault("HTTP/0.9", PROTOCOL, raw_then_close(b"<html>thank you</html>\r\n\r\n")),
    Fault("a header with NUL in it", DELIVERED, raw(HEAD + b"X-Nul: \x00\r\n\r\n")),
]

INFORMATION = [
    Fault("100 Continue without end", PROTOCOL, do.pour(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)),
    Fault("103 Early Hints without end", PROTOCOL,
          do.pour(b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" * 1000)),
    Fault("101 Switching Protocols", ("retry 101",), raw(
          b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")),
]  # fmt: skip

LENGTH = [
    Fault("Content-Length too long, then closes", DELIVERED,
          raw_then_close(HEAD + b"Content-Length: 50\r\n\r\nok")),
    Fault("Content-Length too long, then silence", DELIVERED,
          raw_then_silence(HEAD + b"Content-Length: 50\r\n\r\nok")),
    Fault("Content-Length too short", DELIVERED, raw(HEAD + b"Content-Length: 1\r\n\r\nok")),
    Fault("Content-Length negative", DELIVERED, raw(HEAD + b"Content-Length: -1\r\n\r\nok")),
    Fault("Content-Length no number", DELIVERED, raw(HEAD + b"Content-Length: two\r\n\r\nok")),
    Fault("Content-Length over 64 bits", DELIVERED,
          raw(HEAD + b"Content-Length: 18446744073709551618\r\n\r\nok")),
    Fault("two different Content-Lengths", DELIVERED,
          raw(HEAD + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\nok!")),
    Fault("Content-Length and chunks", DELIVERED, raw(
          HEAD + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")),
]  # fmt: skip

CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = [
    Fault("a chunk size that is none", DELIVERED, raw(CHUNKED + b"two\r\nok\r\n0\r\n\r\n")),
    Fault("a chunk of 10 GB", DELIVERED, do.pour(b"a" * 65536, start=CHUNKED + b"280000000\r\n")),
    Fault("a chunk size over 64 bits", DELIVERED, raw(CHUNKED + b"f" * 40 + b"\r\nok\r\n")),
    Fault("a chunk that is longer than it says", DELIVERED, raw(CHUNKED + b"1\r\nok\r\n0\r\n\r\n")),
    Fault("closes within a chunk", DELIVERED, raw_then_close(CHUNKED + b"ff\r\nok")),
    Fault("an endless chunk size", DELIVERED, do.pour(b"0" * 65536, start=CHUNKED)),
    Fault("an endless chunk extension", DELIVERED, do.pour(b"x" * 65536, start=CHUNKED + b"2;")),
    Fault("endless trailers", DELIVERED,
          do.pour(b"X-More: 1\r\n" * 5000, start=CHUNKED + b"2\r\nok\r\n0\r\n")),
]  # fmt: skip

BODY = [
    Fault(
        "resets within the body", DELIVERED, raw_then_reset(HEAD + b"Content-Length: 50\r\n\r\nok")
    ),
    Fault("drips a body", DELIVERED, drip(b"a" * 10_000, 0.02, start=HEAD + b"\r\n")),
    Fault("a body of 10 GB", DELIVERED, do.ten_gigabytes),
    Fault("an endless body in chunks", DELIVERED, endless_body),
    Fault("an endless body of empty space", DELIVERED, do.pour(bytes(65536), start=HEAD + b"\r\n")),
    Fault("a gzip bomb", DELIVERED, gzip_bomb),
    Fault("invalid UTF-8", DELIVERED, answer(200, b"\xff" * 8000)),
    Fault("control characters", DELIVERED, answer(200, bytes(range(32)) * 300)),
    Fault("HTML", DELIVERED, answer(200, b"<script>alert(1)</script>" * 300)),
]

REDIRECTS = [
    Fault("a redirect to http", REDIRECTED,
          answer(302, headers=[("Location", "http://127.0.0.1/")])),
    Fault("a redirect to itself", REDIRECTED, answer(302, headers=[("Location", "/hook")])),
    Fault("a redirect to the metadata service", REDIRECTED,
          answer(302, headers=[("Location", "https://169.254.169.254/latest/meta-data/")])),
    Fault("an endless redirect", PROTOCOL,
          do.pour(b"a" * 65536, start=b"HTTP/1.1 302 Found\r\nLocation: https://")),
]  # fmt: skip

STATUS = [
    Fault("status 000", PROTOCOL, do.status_line(b"000 None")),
    Fault("status 99", PROTOCOL, do.status_line(b"99 Few")),
    Fault("status 099", PROTOCOL, do.status_line(b"099 Few")),
    Fault("status 600", ("retry 600",), do.status_line(b"600 Many")),
    Fault("status 999", ("retry 999",), do.status_line(b"999 Many")),
    Fault("status 2000", PROTOCOL, do.status_line(b"2000 Many")),
    Fault("status -200", PROTOCOL, do.status_line(b"-200 Negative")),
    Fault("no reason", DELIVERED, do.status_line(b"200")),
    Fault("a reason that is no ASCII", DELIVERED, do.status_line(b"200 \xff\xfe")),
]

IDLE = [
    Fault("closes while idle", DELIVERED, do.later(do.close), pause=PAUSE),
    Fault("resets while idle", DELIVERED, do.later(do.reset), pause=PAUSE),
    Fault("says 408 while idle, and closes", DELIVERED, do.later(raw_then_close(response(408))),
          pause=PAUSE),
    Fault("says 200 while idle", DELIVERED, do.later(raw(response())), pause=PAUSE),
    Fault("garbage while idle", DELIVERED, do.later(raw(b"\x00\xff" * 500)), pause=PAUSE),
    Fault("ends TLS while idle, and stays", DELIVERED, do.later(do.end_tls), pause=PAUSE),
]  # fmt: skip

FAULTS = [
    *CONNECTING, *HANDSHAKE, *REQUEST, *HEADERS, *INFORMATION, *LENGTH, *CHUNKS, *BODY,
    *REDIRECTS, *STATUS, *IDLE,
]  # fmt: skip
