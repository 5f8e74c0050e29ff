"""The one place that sends: Request -> Answer | Failure."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from typing import TYPE_CHECKING, Final, Self

from zbl_provider import __version__
from zbl_provider.delivery.destination.extra import proxy_url
from zbl_provider.delivery.excerpt import Excerpts
from zbl_provider.delivery.exchange import (
    DEADLINE_SECONDS,
    Answer,
    Failure,
    Request,
)
from zbl_provider.delivery.failures import failure
from zbl_provider.delivery.hints import hint
from zbl_provider.delivery.http.connection import StaleConnectionError
from zbl_provider.delivery.http.connector import Connector, TunnelRefusedError
from zbl_provider.delivery.http.limits import ShortageError, room_for_connections
from zbl_provider.delivery.http.pool import Pool
from zbl_provider.delivery.http.reply import NotHttpError
from zbl_provider.delivery.http.request import RequestWriter
from zbl_provider.delivery.http.resolver import Resolver, system_resolver
from zbl_provider.delivery.http.route import Route, environment_proxy
from zbl_provider.delivery.http.tls import tls_context
from zbl_provider.delivery.signing import Signer
from zbl_provider.exceptions import BlockedAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.guard import Guard
    from zbl_provider.delivery.http.reply import Reply

logger = logging.getLogger(__name__)

_RETRY_AFTER_CHARS: Final = 128
_COMPRESSED: Final = re.compile(
    r"\b(gzip|x-gzip|deflate|compress|x-compress|br|zstd|dcb|dcz)\b", re.IGNORECASE
)


class Transport:
    """
    Sends leads to one destination, over connections that are kept and used again (Contract 2.6).

    It does not bound how many requests are in flight: its caller does. Enter it as an async
    context, and use it from that one event loop.

    :param destination: where to
    :param guard: which addresses may be reached
    :param deadline: seconds from the start of a send to the end of what is read (Contract 2.4)
    :param clock: gives the time of `webhook-timestamp`, in seconds since 1970
    :param resolver: looks names up; the system's own by default
    :raises ConfigurationError: if the connection's certificate files or proxy cannot be used
    """

    def __init__(
        self,
        destination: Destination,
        guard: Guard,
        *,
        deadline: float = DEADLINE_SECONDS,
        clock: Callable[[], float] = time.time,
        resolver: Resolver | None = None,
    ) -> None:
        self._max_concurrency = destination.max_concurrency
        self._signer = Signer(destination.signing_secrets)
        self._writer = RequestWriter(destination.url, static_headers(destination))
        self._deadline = deadline
        self._clock = clock
        self._excerpts = Excerpts(destination)
        host, port = destination.host, destination.port
        proxy = destination.proxy
        if not proxy and destination.trust_env and (url := environment_proxy(destination.url)):
            proxy = proxy_url(url, "the environment's proxy")
        route = Route(host, port, proxy=proxy, guard=guard, resolver=resolver or system_resolver)
        context = tls_context(destination.verify, destination.cert)
        connector = Connector(host, port, context, proxy=route.proxy, hop_port=route.port)
        self._pool = Pool(
            route, connector, keep_alive=destination.keep_alive, open_seconds=deadline
        )

    async def __aenter__(self) -> Self:
        room = room_for_connections()
        if room is not None and room < self._max_concurrency:
            logger.warning(
                "max_concurrency is %d, but this process may open only %d more files: raise its "
                "limit (ulimit -n), or lower max_concurrency. Leads without a connection wait.",
                self._max_concurrency,
                room,
            )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._pool.close()

    async def send(self, request: Request) -> Answer | Failure:
        """
        Make one attempt (Contract 2).

        :param request: what to send
        :returns: the answer, if its headers came within the deadline, or why there is none;
            nothing that the network or the peer does is raised. A failure of the kind SHORTAGE is
            no attempt: nothing was sent
        """
        attempt = _Attempt(self._deadline)
        try:
            try:
                reply = await self._exchange(request, attempt)
            except StaleConnectionError:
                # The server had ended the connection before it took the request (Contract 2.6).
                reply = await self._exchange(request, attempt, new=True)
        except (
            OSError,
            BlockedAddress,
            NotHttpError,
            ShortageError,
            TunnelRefusedError,
        ) as problem:
            # Whatever it was: before the next attempt, see whether the name has moved.
            self._pool.failed()
            return failure(problem, attempt.seconds)
        return self._answer(reply, attempt.seconds)

    async def _exchange(self, request: Request, attempt: _Attempt, *, new: bool = False) -> Reply:
        connection = None if new else self._pool.take_kept()
        if connection is None:
            async with asyncio.timeout(attempt.left):
                connection = await self._pool.take(new=new)
            if self._pool.was_short_since(attempt.started):
                attempt.begin()
        headers = self._signer.headers(request.webhook_id, int(self._clock()), request.body)
        headers.update(request.extra_headers)
        written = self._writer.write(headers, request.body, keep=self._pool.keeps)
        try:
            reply = await connection.exchange(written, attempt.left)
        except StaleConnectionError:
            self._pool.ended(connection)
            raise
        self._pool.give_back(connection, reply)
        return reply

    def _answer(self, reply: Reply, seconds: float) -> Answer:
        # Other values, such as "utf-8", are mistakes: the body is not compressed.
        if reply.body and _COMPRESSED.search(reply.field(b"content-encoding") or ""):
            excerpt = "(compressed)"
        else:
            excerpt = self._excerpts.text(reply.body, whole=reply.whole)
        retry_after = reply.field(b"retry-after")
        return Answer(
            reply.status,
            excerpt,
            retry_after and retry_after[:_RETRY_AFTER_CHARS],
            seconds,
            hint(reply.status, reply.field(b"location"), reply.body),
        )


class _Attempt:
    """
    The time of one attempt, which begins when this machine can send at all.

    :param deadline: how long it may take, in seconds
    """

    __slots__ = ("_deadline", "started")

    def __init__(self, deadline: float) -> None:
        self._deadline = deadline
        self.begin()

    def begin(self) -> None:
        self.started = time.monotonic()

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started

    @property
    def left(self) -> float:
        return self._deadline - self.seconds


def static_headers(destination: Destination) -> list[tuple[str, str]]:
    """Give the headers that all requests to a destination share (Contract 1.4 and 2.1)."""
    own = {name.lower() for name, _ in destination.headers}
    ours = [
        ("Accept", "*/*"),
        ("Content-Type", "application/json"),
        ("User-Agent", f"zbl_provider/{__version__}"),
    ]
    return [*(pair for pair in ours if pair[0].lower() not in own), *destination.headers]
