"""The one place that sends: Request -> Answer | Failure."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Final, Self

from zbl_provider.delivery.connecting import Connector, TunnelRefusedError
from zbl_provider.delivery.excerpt import Excerpts
from zbl_provider.delivery.exchange import (
    DEADLINE_SECONDS,
    Answer,
    Failure,
    FailureKind,
    Request,
)
from zbl_provider.delivery.failures import failure
from zbl_provider.delivery.head import Head
from zbl_provider.delivery.reply import NotHttpError
from zbl_provider.delivery.route import Resolver, Route, system_resolver
from zbl_provider.delivery.signing import Signer
from zbl_provider.exceptions import BlockedAddress

if TYPE_CHECKING:
    from collections.abc import Callable

    from zbl_provider.delivery.connection import Connection
    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.guard import Guard
    from zbl_provider.delivery.reply import Reply

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
        self._signer = Signer(destination.signing_secrets)
        self._head = Head(destination)
        self._deadline = deadline
        self._clock = clock
        self._excerpts = Excerpts(destination)
        self._route = Route(destination, guard, resolver or system_resolver)
        self._connector = Connector(destination, self._route)
        self._idle: list[Connection] = []
        self._address: str | None = None
        self._suspect = False
        self._look_up_at = 0.0
        self._looking_up: asyncio.Task[str] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._looking_up:
            self._looking_up.cancel()
        for connection in self._idle:
            connection.close()

    async def send(self, request: Request) -> Answer | Failure:
        """
        Make one attempt (Contract 2).

        :param request: what to send
        :returns: the answer, if its headers came within the deadline, or why there is none;
            nothing that the network or the peer does is raised
        """
        started = time.monotonic()
        try:
            known = started < self._look_up_at
            connection = (self._kept(started) if known else None) or await self._opened()
            left = self._deadline - (time.monotonic() - started)
            reply = await connection.exchange(self._written(request), left)
        except (OSError, BlockedAddress, NotHttpError, TunnelRefusedError) as error:
            # Whatever it was: before the next attempt, see whether the name has moved.
            self._suspect = True
            self._look_up_at = 0.0
            return failure(error, time.monotonic() - started)
        if not connection.closed:
            self._idle.append(connection)
        return self._answer(reply, time.monotonic() - started)

    def _written(self, request: Request) -> bytes:
        named = self._signer.headers(request.webhook_id, int(self._clock()), request.body)
        named.update(request.extra_headers)
        return self._head.write(named, request.body)

    def _answer(self, reply: Reply, seconds: float) -> Answer:
        coding = reply.field(b"content-encoding")
        if reply.body and (coding or "identity") != "identity":
            excerpt = "(compressed)"
        else:
            excerpt = self._excerpts.text(reply.body, whole=reply.whole)
        retry_after = reply.field(b"retry-after")
        return Answer(
            reply.status, excerpt, retry_after and retry_after[:_RETRY_AFTER_CHARS], seconds
        )

    def _kept(self, now: float) -> Connection | None:
        """Take a connection that is open, and leads to where the name does now."""
        while self._idle:
            connection = self._idle.pop()
            if connection.address != self._address:
                connection.close()
            elif connection.usable(now):
                return connection
        return None

    async def _opened(self) -> Connection:
        async with asyncio.timeout(self._deadline):
            address = await self._looked_up()
            return self._kept(time.monotonic()) or await self._connector.open(address)

    async def _looked_up(self) -> str:
        """Share one look-up among all that wait for it; it outlives those that cannot."""
        if self._address is not None and time.monotonic() < self._look_up_at:
            return self._address
        if self._looking_up is None or self._looking_up.done():
            self._looking_up = asyncio.create_task(self._look_up())
            self._looking_up.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(self._looking_up)

    async def _look_up(self) -> str:
        self._address = await self._route.address(None if self._suspect else self._address)
        self._suspect = False
        self._look_up_at = time.monotonic() + _LOOK_UP_SECONDS
        return self._address
