"""What kept an answer away, as a label and a few words that may be shown anywhere."""

from __future__ import annotations

import errno
import socket
import ssl
from typing import Final

from zbl_provider.delivery.connecting import TunnelRefusedError
from zbl_provider.delivery.exchange import Failure, FailureKind
from zbl_provider.delivery.reply import NotHttpError
from zbl_provider.exceptions import BlockedAddress

_DETAIL_CHARS: Final = 200
# The first that fits counts: a TLS error is an OSError, too.
_KINDS: Final = (
    (TimeoutError, FailureKind.TIMEOUT),
    (socket.gaierror, FailureKind.DNS),
    (ssl.SSLError, FailureKind.TLS),
    (NotHttpError, FailureKind.PROTOCOL),
    (TunnelRefusedError, FailureKind.UNREACHABLE),
)
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


def failure(error: Exception, seconds: float) -> Failure:
    """
    Label what was raised on the way to an answer.

    :param error: what was raised
    :param seconds: from the start of the attempt
    :returns: the failure; its text holds no URL, no header and no secret (Contract 1.5)
    """
    if isinstance(error, BlockedAddress):
        return Failure(FailureKind.BLOCKED, str(error), seconds)
    kind = _kind(error)
    more = _more(error)
    return Failure(kind, f"{_WORDS[kind]}{': ' if more else ''}{more}"[:_DETAIL_CHARS], seconds)


def _kind(error: Exception) -> FailureKind:
    for known, kind in _KINDS:
        if isinstance(error, known):
            return kind
    number = error.errno if isinstance(error, OSError) else None
    return _OS_ERRORS.get(number or 0, FailureKind.NETWORK)


def _more(error: Exception) -> str:
    """Say what a person can act on; only TLS and proxies tell."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, ssl.SSLError):
        return (error.reason or "the handshake failed").replace("_", " ").lower()
    if isinstance(error, TunnelRefusedError):
        return f"the proxy answered {error.status or 'no HTTP'}"
    return ""
