"""What an answer, or the lack of one, means for the lead: the table of Contract 3."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from http import HTTPStatus
from typing import Final

from zbl_provider.delivery.exchange import Answer, Failure, FailureKind


class Verdict(StrEnum):
    """What becomes of the lead after this attempt."""

    DELIVERED = "delivered"
    RETRY = "retry"
    ERROR = "error"


@dataclass(slots=True)  # not frozen, since each lead makes one
class Outcome:
    """
    One attempt, judged (Contract 3).

    :param verdict: delivered, to be tried again while the schedule lasts, or an error for good
    :param status: the HTTP status code, if there was an answer
    :param kind: the value of the FailureKind, if there was none
    :param detail: in words, with what to change where something can be; free of secrets
    :param retry_after: the Retry-After header, where it counts (Contract 3.3)
    :param seconds: how long the attempt took
    :param excerpt: the start of the answer's body
    """

    verdict: Verdict
    status: int | None
    kind: str | None
    detail: str
    retry_after: str | None
    seconds: float
    excerpt: str = field(repr=False)


_PHRASES: Final = {status.value: status.phrase for status in HTTPStatus}
_REMEDIES: Final = {
    304: "no server answers a POST so: check what is before the destination, such as a cache",
    400: "the destination refuses this payload: compare it with what it expects",
    401: "check the login or the secret_headers of the connection",
    403: "check the login or the secret_headers of the connection",
    404: "check the destination URL of the connection",
    405: "the destination URL does not accept POST: check it",
    410: "the destination has been switched off: renew its URL in the connection",
    413: "the destination does not accept a payload of this size",
    415: "the destination does not accept JSON: check its URL",
    422: "the destination refuses this payload: compare it with what it expects",
    429: "the destination wants fewer requests: lower max_rate, or add 429 to retry_statuses",
}
_ANOTHER_4XX = "the destination refuses the request: check the connection"
_REDIRECT = "redirects are not followed: put the final URL into the connection"


def classify(result: Answer | Failure, retry_statuses: frozenset[int] = frozenset()) -> Outcome:
    """
    Judge one attempt (Contract 3 and 3.3).

    :param result: what the transport brought back
    :param retry_statuses: the integration's extra statuses to retry
    :returns: the outcome; nothing in it depends on a message's text
    """
    if isinstance(result, Failure):
        return Outcome(
            verdict=Verdict.ERROR if result.kind is FailureKind.BLOCKED else Verdict.RETRY,
            status=None,
            kind=result.kind.value,
            detail=result.detail,
            retry_after=None,
            seconds=result.seconds,
            excerpt="",
        )
    verdict = _verdict(result.status, retry_statuses)
    named = verdict is Verdict.RETRY and result.status in retry_statuses
    return Outcome(
        verdict=verdict,
        status=result.status,
        kind=None,
        detail=describe(result.status, verdict, result.hint),
        # A 503 keeps to the schedule; only a status that the connection names may stretch it.
        retry_after=result.retry_after if named else None,
        seconds=result.seconds,
        excerpt=result.excerpt,
    )


def _verdict(status: int, retry_statuses: frozenset[int]) -> Verdict:
    match status // 100:
        case 2:
            return Verdict.DELIVERED
        case 3 | 4 if status not in retry_statuses:
            return Verdict.ERROR
        case _:  # 5xx, and what is no final status of HTTP at all: as good as garbled
            return Verdict.RETRY


@lru_cache(maxsize=256)
def describe(status: int, verdict: Verdict, hint: str | None = None) -> str:
    """Put an answer into words, with what to change where something can be."""
    answered = f"answered {status} {_PHRASES.get(status, '')}".rstrip()
    if verdict is not Verdict.ERROR:
        return answered
    if hint:
        return f"{answered}: {hint}"
    other = _REDIRECT if status < HTTPStatus.BAD_REQUEST else _ANOTHER_4XX
    return f"{answered}: {_REMEDIES.get(status, other)}"
