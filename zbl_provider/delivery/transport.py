"""The one place that sends: Request -> Answer | Failure."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Self

from pyreqwest.exceptions import PyreqwestError
from pyreqwest.http import Url

from zbl_provider.delivery import signing
from zbl_provider.delivery.client import ClientFactory, host_of
from zbl_provider.delivery.excerpt import Excerpts
from zbl_provider.delivery.exchange import (
    DEADLINE_SECONDS,
    EXCERPT_BYTES,
    Answer,
    Failure,
    FailureKind,
    Request,
)
from zbl_provider.delivery.failures import failure
from zbl_provider.delivery.route import Resolver, Route, system_resolver
from zbl_provider.exceptions import BlockedAddress, DestinationError

if TYPE_CHECKING:
    from collections.abc import Callable

    from pyreqwest.client import Client
    from pyreqwest.response import Response

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.guard import Guard

__all__ = ["Answer", "Failure", "FailureKind", "Request", "Transport"]

_LOOK_UP_SECONDS: Final = 60.0
_RETRY_AFTER_CHARS: Final = 128


class Transport:
    """
    Sends leads to one destination, over connections that are kept alive.

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
        self._url = _parsed(destination)
        self._secrets = destination.signing_secrets
        self._deadline = deadline
        self._clock = clock
        self._excerpts = Excerpts(destination)
        self._route = Route(destination, guard, resolver or system_resolver)
        self._clients = ClientFactory(destination, self._route.proxy, deadline)
        self._client: Client | None = None
        self._address: str | None = None
        self._suspect = False
        self._look_up_at = 0.0
        self._looking_up: asyncio.Task[Client] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._looking_up:
            self._looking_up.cancel()
        if self._client:
            await self._client.close()

    async def send(self, request: Request) -> Answer | Failure:
        """
        Make one attempt (Contract 2).

        :param request: what to send
        :returns: the answer, if its headers came within the deadline, or why there is none;
            nothing that the network or the peer does is raised
        """
        started = time.monotonic()
        try:
            if self._client and started < self._look_up_at:
                return await self._post(self._client, request, started)
            async with asyncio.timeout(self._deadline):
                client = await self._looked_up()
            return await self._post(client, request, started, looked_up=True)
        except (PyreqwestError, BlockedAddress, OSError) as error:
            # Whatever it was: before the next attempt, see whether the name has moved.
            self._suspect = True
            self._look_up_at = 0.0
            return failure(error, time.monotonic() - started)

    async def _post(
        self, client: Client, request: Request, started: float, *, looked_up: bool = False
    ) -> Answer:
        named = signing.headers(self._secrets, request.webhook_id, int(self._clock()), request.body)
        named.update(request.extra_headers)
        builder = (
            client.post(self._url)
            .headers(named)
            .body_bytes(request.body)
            # 0, or the client would hold the headers back until it has 64 KiB of the body.
            .streamed_read_buffer_limit(0)
        )
        if looked_up:
            left = self._deadline - (time.monotonic() - started)
            builder = builder.timeout(timedelta(seconds=max(left, 0.001)))
        async with builder.build_streamed() as response:
            status, retry_after = response.status, _header(response, "Retry-After")
            excerpt = await self._excerpt(response)
        return Answer(status, excerpt, retry_after, time.monotonic() - started)

    async def _excerpt(self, response: Response) -> str:
        """Read the body's start. The outcome stands, whatever happens from here on (2.4)."""
        body, length = b"", _header(response, "Content-Length")
        if _header(response, "Transfer-Encoding"):
            length = None  # the chunks count, whatever it says (RFC 9112, section 6.3)
        whole = length == "0"
        with suppress(PyreqwestError):
            while len(body) < EXCERPT_BYTES and not whole:
                chunk = await response.body_reader.read_chunk()
                body += bytes(chunk or b"")
                # A body that says how long it is needs no second look to see that it has ended.
                whole = not chunk or str(len(body)) == length
        if body and (_header(response, "Content-Encoding") or "identity") != "identity":
            return "(compressed)"
        return self._excerpts.text(body, whole=whole)

    async def _looked_up(self) -> Client:
        """Share one look-up among all that wait for it; it outlives those that cannot."""
        if self._looking_up is None or self._looking_up.done():
            self._looking_up = asyncio.create_task(self._look_up())
            self._looking_up.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._looking_up)

    async def _look_up(self) -> Client:
        address = await self._route.address(None if self._suspect else self._address)
        if self._client is None or address != self._address:
            # Requests on their way keep the old client, and its connections, until they end.
            self._client, self._address = self._clients.build(self._route.host, address), address
        self._suspect = False
        self._look_up_at = time.monotonic() + _LOOK_UP_SECONDS
        return self._client


def _header(response: Response, name: str) -> str | None:
    try:
        value = response.get_header(name)
    except ValueError:  # bytes beyond ASCII
        return None
    return None if value is None else value[:_RETRY_AFTER_CHARS]


def _parsed(destination: Destination) -> Url:
    """Parse once, and see that the client reads the same host that the guard will judge."""
    if host_of(destination.url) != destination.host:
        raise DestinationError(
            field="Destination URL", problem="cannot be read", remedy="Check its host"
        )
    return Url(destination.url)
