"""The start of a request: all that comes before its body."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from zbl_provider import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from zbl_provider.delivery.destination import Destination


class Head:
    """
    Writes the requests of one destination (RFC 9112).

    :param destination: where to, with its own headers
    """

    __slots__ = ("_start",)

    def __init__(self, destination: Destination) -> None:
        parts = urlsplit(destination.url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        fields = [("Host", parts.netloc), *static_headers(destination)]
        lines = [f"POST {target} HTTP/1.1", *(f"{name}: {value}" for name, value in fields)]
        # Latin-1 is what Contract 1.4 lets through; line ends it does not.
        self._start = "".join(f"{line}\r\n" for line in lines).encode("latin-1")

    def write(self, headers: Mapping[str, str], body: bytes) -> bytes:
        """
        Write one request.

        :param headers: those of this request alone
        :param body: the exact bytes to send
        """
        own = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        return b"%b%bContent-Length: %d\r\n\r\n%b" % (
            self._start, own.encode("latin-1"), len(body), body
        )  # fmt: skip


def static_headers(destination: Destination) -> list[tuple[str, str]]:
    """Give the headers that all requests to a destination share (Contract 1.4 and 2.1)."""
    own = {name.lower() for name, _ in destination.headers}
    ours = [
        ("Accept", "*/*"),
        ("Content-Type", "application/json"),
        ("User-Agent", f"zbl_provider/{__version__}"),
    ]
    return [*(pair for pair in ours if pair[0].lower() not in own), *destination.headers]
