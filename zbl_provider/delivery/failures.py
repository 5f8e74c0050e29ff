"""What kept an answer away, as a label and a few words that may be shown anywhere."""

from __future__ import annotations

import errno
import re
import socket
import ssl
from typing import Final

from zbl_provider.delivery.exchange import Failure, FailureKind
from zbl_provider.delivery.hints import CERTIFICATE_REFUSED, CERTIFICATE_WANTED
from zbl_provider.delivery.http.connector import TunnelRefusedError
from zbl_provider.delivery.http.limits import ShortageError
from zbl_provider.delivery.http.reply import NotHttpError
from zbl_provider.delivery.http.route import AT_THE_PROXY
from zbl_provider.exceptions import BlockedAddress

_DETAIL_CHARS: Final = 200
# The first that fits counts: a TLS error is an OSError, too.
_KINDS: Final = (
    (TimeoutError, FailureKind.TIMEOUT),
    (socket.gaierror, FailureKind.DNS),
    (ssl.SSLError, FailureKind.TLS),
    (NotHttpError, FailureKind.PROTOCOL),
    (TunnelRefusedError, FailureKind.UNREACHABLE),
    (ShortageError, FailureKind.SHORTAGE),
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
    FailureKind.SHORTAGE: "nothing was sent",
}
_PROXY_LOGIN: Final = 407
_PROXY_URL: Final = "it is the proxy's, check its URL"
_HTTP_2_ONLY: Final = (
    "the server speaks only HTTP/2: let it, or the proxy before it, accept HTTP/1.1"
)
_OLD_TLS: Final = "the server speaks no safe version of TLS: let it accept TLS 1.2 or 1.3"
_REFUSED_HANDSHAKE: Final = (
    "the server refuses the handshake: it has no TLS version or cipher in common with this sender, "
    "or wants a client certificate"
)
_UNKNOWN_NAME: Final = "the server has no certificate for this host name: check the URL"
# Caddy says so of a name that it does not serve.
_FAILED_HANDSHAKE: Final = (
    "the server failed in the handshake, as some do where they have no certificate for a host name"
)
# What OpenSSL calls a certificate whose signer is not among those that are trusted: it is its own,
# or nobody's that is known here.
_UNKNOWN_SIGNER: Final = frozenset({18, 19, 20, 21})
_OWN_AUTHORITY: Final = "if its CA is your own, name it in verify in the connection's Extra"
# What OpenSSL calls an alert of the server, or an answer that is no TLS. Alerts begin with "SSLV3_"
# or "TLSV1_", whatever was spoken.
_TLS_WORDS: Final = {
    "ALERT_NO_APPLICATION_PROTOCOL": _HTTP_2_ONLY,
    "ALERT_PROTOCOL_VERSION": _OLD_TLS,
    "UNSUPPORTED_PROTOCOL": _OLD_TLS,
    "WRONG_VERSION_NUMBER": "the server does not speak TLS there: check the port",
    "ALERT_CERTIFICATE_REQUIRED": CERTIFICATE_WANTED,
    "ALERT_HANDSHAKE_FAILURE": _REFUSED_HANDSHAKE,
    "ALERT_INTERNAL_ERROR": _FAILED_HANDSHAKE,
    "UNRECOGNIZED_NAME": _UNKNOWN_NAME,
    # It judges a certificate: the client's.
    "ALERT_UNKNOWN_CA": CERTIFICATE_REFUSED,
    "ALERT_BAD_CERTIFICATE": CERTIFICATE_REFUSED,
    "ALERT_CERTIFICATE_EXPIRED": CERTIFICATE_REFUSED,
    "ALERT_CERTIFICATE_REVOKED": CERTIFICATE_REFUSED,
    "ALERT_CERTIFICATE_UNKNOWN": CERTIFICATE_REFUSED,
    "ALERT_UNSUPPORTED_CERTIFICATE": CERTIFICATE_REFUSED,
}
_TLS_PREFIX: Final = re.compile(r"(SSLV3|TLSV1|TLSV13)_(?=ALERT_|UNRECOGNIZED_)")
# The start of a connection in HTTP/2 (RFC 9113, 3.4 and 4.1): length, type SETTINGS or GOAWAY, no
# flags or ACK, stream 0.
_HTTP_2_FRAME: Final = re.compile(rb"\x00..[\x04\x07][\x00\x01]\x00{4}", re.DOTALL)


def failure(error: Exception, seconds: float) -> Failure:
    """
    Label what was raised on the way to an answer.

    :param error: what was raised
    :param seconds: from the start of the attempt
    :returns: the failure; its text holds no URL, no header and no secret (Contract 1.5)
    """
    is_proxys = AT_THE_PROXY in getattr(error, "__notes__", ())
    if isinstance(error, BlockedAddress):
        whose = f" ({AT_THE_PROXY})" if is_proxys else ""
        return Failure(FailureKind.BLOCKED, f"{error}{whose}", seconds)
    code = error.errno if isinstance(error, OSError) else None
    other = _OS_ERRORS.get(code or 0, FailureKind.NETWORK)
    kind = next((kind for known, kind in _KINDS if isinstance(error, known)), other)
    more = _PROXY_URL if is_proxys else _more(error)
    return Failure(kind, f"{_WORDS[kind]}{': ' if more else ''}{more}"[:_DETAIL_CHARS], seconds)


def _more(error: Exception) -> str:
    """Say what a person can act on."""
    more = ""
    match error:
        case ssl.SSLCertVerificationError():
            more = error.verify_message
            if error.verify_code in _UNKNOWN_SIGNER:
                more = f"{more}: {_OWN_AUTHORITY}"
        case ssl.SSLError():
            reason = getattr(error, "reason", None) or "the handshake failed"
            plain = reason.replace("_", " ").lower()
            more = _TLS_WORDS.get(_TLS_PREFIX.sub("", reason), plain)
        case TunnelRefusedError(status=status):
            login = ": check the login in the proxy's URL" if status == _PROXY_LOGIN else ""
            more = f"the proxy answered {status or 'no HTTP'}{login}"
        case NotHttpError(start=start) if _HTTP_2_FRAME.match(start):
            more = _HTTP_2_ONLY
        case ShortageError():
            more = str(error)
    return more
