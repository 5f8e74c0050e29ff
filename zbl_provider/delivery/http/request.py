"""A request as bytes (RFC 9112): all that comes before its body, and the body."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class RequestWriter:
    """
    Writes the requests to one URL.

    :param url: the whole URL
    :param headers: those that all requests share
    """

    __slots__ = ("_start",)

    def __init__(self, url: str, headers: Iterable[tuple[str, str]]) -> None:
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        lines = [f"POST {target} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers]
        # Latin-1 is what Contract 1.4 lets through; line ends it does not.
        self._start = "".join(f"{line}\r\n" for line in lines).encode("latin-1")

    def write(self, headers: Mapping[str, str], body: bytes, *, keep: bool) -> bytes:
        """
        Write one request.

        :param headers: those of this request alone
        :param body: the exact bytes to send
        :param keep: whether its connection is to be kept afterwards
        """
        own = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return b"%b%b%bContent-Length: %d\r\n\r\n%b" % (
            self._start, own.encode("latin-1"), b"" if keep else b"Connection: close\r\n",
            len(body), body,
        )  # fmt: skip
