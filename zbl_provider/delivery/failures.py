"""What kept an answer away, as a label and a few words that may be shown anywhere."""

from __future__ import annotations

import errno
import re
import socket
from typing import Final

from pyreqwest.exceptions import DecodeError, DetailedPyreqwestError

from zbl_provider.delivery.exchange import Failure, FailureKind
from zbl_provider.exceptions import BlockedAddress

_DETAIL_CHARS: Final = 200
_OS_ERRORS: Final = {
    errno.ECONNREFUSED: FailureKind.REFUSED,
    errno.EHOSTUNREACH: FailureKind.UNREACHABLE,
    errno.ENETUNREACH: FailureKind.UNREACHABLE,
    errno.EHOSTDOWN: FailureKind.UNREACHABLE,
    errno.ENETDOWN: FailureKind.UNREACHABLE,
    errno.EADDRNOTAVAIL: FailureKind.UNREACHABLE,
    errno.ECONNRESET: FailureKind.RESET,
    errno.ECONNABORTED: FailureKind.RESET,
    errno.EPIPE: FailureKind.RESET,
    errno.ETIMEDOUT: FailureKind.TIMEOUT,
}
_WORDS: Final = {
    FailureKind.TIMEOUT: "no answer within the deadline",
    FailureKind.DNS: "the host name does not resolve",
    FailureKind.REFUSED: "the connection was refused",
    FailureKind.UNREACHABLE: "the host cannot be reached",
    FailureKind.RESET: "the connection broke before the answer",
    FailureKind.TLS: "no trusted TLS connection",
    FailureKind.PROTOCOL: "the answer is not HTTP",
    FailureKind.NETWORK: "no answer",
}
# The client names a cause by its text alone. No outcome depends on it, only the label does.
_LINK: Final = re.compile(r":? ?https?://\S+")
_OS_ERROR: Final = re.compile(r"os error (\d+)")
_TEXTS: Final = (
    (re.compile(r"dns error"), FailureKind.DNS),
    (re.compile(r"closed|unexpected.e|incomplete|reset"), FailureKind.RESET),
    (re.compile(r"certificate|tls|handshake|received (fatal|corrupt)"), FailureKind.TLS),
    (re.compile(r"tunnel|proxy"), FailureKind.UNREACHABLE),
    (re.compile(r"pars|invalid|too large"), FailureKind.PROTOCOL),
)


def failure(error: Exception, seconds: float) -> Failure:
    """
    Label what a connection attempt or the HTTP client raised.

    :param error: what was raised
    :param seconds: from the start of the attempt
    :returns: the failure; its text holds no URL, no header and no secret (Contract 1.5)
    """
    if isinstance(error, BlockedAddress):
        return Failure(FailureKind.BLOCKED, str(error), seconds)
    causes = _causes(error)
    kind = _kind(error, " / ".join(causes).lower())
    # The last cause is the first that happened; only TLS says there what a person can act on.
    more = f": {causes[-1]}" if causes and kind is FailureKind.TLS else ""
    return Failure(kind, f"{_WORDS[kind]}{more}"[:_DETAIL_CHARS], seconds)


def _kind(error: Exception, text: str) -> FailureKind:
    if isinstance(error, TimeoutError):
        return FailureKind.TIMEOUT
    if isinstance(error, socket.gaierror):
        return FailureKind.DNS
    os_error = _OS_ERROR.search(text)
    number = error.errno if isinstance(error, OSError) else os_error and int(os_error.group(1))
    if number in _OS_ERRORS:
        return _OS_ERRORS[number]
    if isinstance(error, DecodeError):
        return FailureKind.PROTOCOL
    return next((kind for known, kind in _TEXTS if known.search(text)), FailureKind.NETWORK)


def _causes(error: Exception) -> list[str]:
    """Give the causes' texts, without the one that quotes the whole URL."""
    if not isinstance(error, DetailedPyreqwestError):
        return []
    causes = error.details.get("causes") or []
    texts = [cause["message"] for cause in causes if "for url (" not in cause["message"]]
    return [_LINK.sub("", " ".join(text.split())) for text in texts]
