"""One attempt's two ends: what is asked of the transport, and what it brings back."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

DEADLINE_SECONDS = 10.0
"""Of one attempt, from its start to the last byte that is read (Contract 2.4)."""


@dataclass(slots=True)  # not frozen, since each lead makes one
class Request:
    """
    One POST of one lead (Contract 2.1).

    :param webhook_id: the lead's id towards this integration, the same for ever (Contract 2.3)
    :param body: the exact bytes to send, which are also those that are signed
    :param extra_headers: headers of this request alone, such as ``X-ZBL-Test`` (Contract 1.6)
    """

    webhook_id: str
    body: bytes = field(repr=False)
    extra_headers: tuple[tuple[str, str], ...] = ()


@dataclass(slots=True)  # not frozen, since each lead makes one
class Answer:
    """
    A status line and headers that arrived in time (Contract 2.4).

    :param status: the HTTP status code
    :param excerpt: the start of the body, at most 4 KiB, as printable text (Contract 7.3)
    :param retry_after: the Retry-After header as it came, if it came
    :param seconds: from the start of the attempt to the end of the excerpt
    :param hint: what this server's answer means, where it is known to mean more than its status
    """

    status: int
    excerpt: str = field(repr=False)
    retry_after: str | None
    seconds: float
    hint: str | None = None


class FailureKind(StrEnum):
    """
    Why there was no answer: a label for people.

    BLOCKED alone decides an outcome; SHORTAGE is no attempt at all: nothing was sent, since this
    machine has reached a limit of its own.
    """

    TIMEOUT = "timeout"
    DNS = "dns"
    REFUSED = "refused"
    UNREACHABLE = "unreachable"
    RESET = "reset"
    TLS = "tls"
    PROTOCOL = "protocol"
    BLOCKED = "blocked"
    NETWORK = "network"
    SHORTAGE = "shortage"


@dataclass(frozen=True, slots=True)
class Failure:
    """
    An attempt without an answer.

    :param kind: what stood in the way
    :param detail: the same in a few words that may be shown anywhere (Contract 1.5)
    :param seconds: from the start of the attempt
    """

    kind: FailureKind
    detail: str
    seconds: float
