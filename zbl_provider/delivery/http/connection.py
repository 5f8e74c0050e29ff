"""One connection to a server, which carries one request after another."""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from typing import TYPE_CHECKING, Final, cast

from zbl_provider.delivery.http.quiet import Quiet
from zbl_provider.delivery.http.reply import MAX_BYTES, SUCCESS, NotHttpError, Reply

if TYPE_CHECKING:
    import socket
    from typing import Protocol

    class Owner(Protocol):
        """Who keeps connections."""

        def opened(self, connection: Connection) -> None:
            """Take note of a connection that is open."""

        def lost(self, connection: Connection) -> None:
            """Take note of a connection whose socket is closed."""

        def strayed(self) -> None:
            """Take note that something came which no request has asked for."""


_LINE_ENDS: Final = b"\r\n"
_BUFFER_BYTES: Final = 16 * 1024  # the largest TLS record
# What the system takes at once, whatever its buffers: nothing of such a request is held back.
_AT_ONCE_BYTES: Final = 8 * 1024
_LOOK_SECONDS: Final = 0.01  # whether a request has left
# How a server refuses a request that it could not read, before it closes the connection.
_MISREAD: Final = frozenset({400, 414, 501, 505})
_TOO_LATE: Final = 408


class StaleConnectionError(Exception):
    """A kept connection on which the server took no request: it had ended it, or lost its place."""


class Connection(asyncio.BufferedProtocol):
    """
    An open TLS connection; use it from the event loop that it was made in.

    :param sock: the TCP socket under it
    :param address: where it leads
    :param owner: told when it is open, when it is lost, and of what no request has asked for
    :ivar kept: whether it has waited for its request
    :ivar closed: whether it can carry no further request
    :ivar keep_until: when it should be closed, by the clock that never goes back, in seconds
    """

    __slots__ = ("_answered", "_buffer", "_deadline", "_early", "_owner", "_quiet",
                 "_reads_bodies", "_reply", "_timer", "_transport", "_unsent", "address", "closed",
                 "keep_until", "kept", "opened_at")  # fmt: skip

    def __init__(self, sock: socket.socket, address: str, owner: Owner) -> None:
        self.address = address
        self.opened_at = time.monotonic()
        self.keep_until = 0.0
        self.kept = False
        self.closed = False
        self._quiet = Quiet(sock.fileno())
        self._buffer = memoryview(bytearray(_BUFFER_BYTES))
        self._owner = owner
        self._transport: asyncio.Transport | None = None
        self._reply: Reply | None = None
        self._answered: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._deadline = 0.0
        self._unsent = False
        self._reads_bodies = False
        self._early = b""  # what a new connection has brought before its first request

    async def exchange(self, request: bytes, seconds: float) -> Reply:
        """
        Send a request and read what is answered; the connection is closed unless all went well.

        A server may accept a request before it has read it whole. Then the rest is sent, too: what
        counts as delivered has to arrive (Contract 2.4).

        :param request: head and body
        :param seconds: until when the headers must be there, and no more is read
        :returns: the answer, with its final status
        :raises TimeoutError: if the headers did not come in time
        :raises StaleConnectionError: if the connection had been kept, and the server has not taken
            the request
        :raises OSError: if the connection broke before the headers' end
        :raises NotHttpError: if what came is not HTTP
        """
        loop = asyncio.get_running_loop()
        reply = self._reply = Reply()
        sent = False
        self._answered = loop.create_future()
        self._set_deadline(loop, seconds)
        try:
            if self._transport and not self.closed:
                self._transport.write(request)
            if self._early:  # an overloaded server may refuse before it reads
                self._read(reply, self._early)
            if self.closed:
                self._end(None)
            await self._answered
            sent = len(request) <= _AT_ONCE_BYTES or await self._is_sent(reply)
        finally:
            if not sent or not reply.complete:
                self.abort()
            elif not reply.reusable or self._early:
                # One that speaks before it is asked may answer again, once it reads.
                self.close()
            self._reply = self._answered = None
        # A server that does not read a request's body takes it for the start of the next one; one
        # that closes an idle connection may say 408 while the request is on its way.
        may_be_misread = reply.status in _MISREAD and not self._reads_bodies
        if self.kept and not reply.reusable and (may_be_misread or reply.status == _TOO_LATE):
            raise StaleConnectionError
        # Here it has found this request behind the one before, and so has read that one's body.
        self._reads_bodies = self.kept and reply.status in SUCCESS
        return reply

    def is_quiet(self) -> bool:
        """
        Look whether nothing has happened on it since its last answer.

        The event loop may not have looked at the socket for a while: what it would find there is no
        answer to a request that is still to be sent.
        """
        return not (self.closed or self._early) and bool(self._quiet)

    def close(self) -> None:
        """Close it, with TLS's goodbye; it may be closed already."""
        self.closed = True
        if self._transport:
            self._transport.close()

    def abort(self) -> None:
        """Close it at once, whatever is still to be sent."""
        self.closed = True
        if self._transport:
            self._transport.abort()

    # What the transport calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin: the TLS handshake is done."""
        self._transport = cast("asyncio.Transport", transport)
        # So that pause_writing tells of anything unsent: an answer may overtake its request.
        self._transport.set_write_buffer_limits(high=1, low=0)
        self._owner.opened(self)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return a buffer of our own: without one, transports allocate 256 KiB for each read."""
        del sizehint
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        """Read what has come; the connection is closed if nothing was asked for."""
        data = bytes(self._buffer[:nbytes])
        reply = self._reply
        if reply is not None and not reply.done:
            self._read(reply, data)
        elif not self.kept and reply is None and len(self._early) < MAX_BYTES:
            self._early += data
        elif (reply is None or reply.reusable) and data.strip(_LINE_ENDS):
            if reply:
                reply.reusable = False
            self.close()
            # Some servers say 408 before they close an idle connection. That is no answer either,
            # but no reason to distrust the server.
            if not data.startswith((b"HTTP/1.1 408", b"HTTP/1.0 408")):
                self._owner.strayed()

    def eof_received(self) -> None:
        """End the answer as its server has ended it."""
        self.closed = True
        self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """End the exchange that is under way."""
        self.closed = True
        self._end(exc)
        if self._timer:
            self._timer.cancel()
        # The two hold each other, and would wait for the garbage collector with all their buffers.
        self._transport = self._timer = None
        self._owner.lost(self)

    def pause_writing(self) -> None:
        """Take note that a part of the request waits for the server."""
        self._unsent = True

    def resume_writing(self) -> None:
        """Take note that the whole request has left."""
        self._unsent = False

    async def _is_sent(self, reply: Reply) -> bool:
        """
        Tell whether the request has left, and arrived at the other machine.

        Where it was accepted, wait for that until the deadline. The transport does not say what the
        one beneath it still holds. The system does, since that one hands it over without delay.
        """
        loop = asyncio.get_running_loop()
        while not self.closed:
            if not self._unsent and self._quiet.all_sent():
                await asyncio.sleep(0)  # what is held back would be handed over meanwhile
                if not self._unsent and not self.closed and self._quiet.all_sent():
                    return True
            if reply.status not in SUCCESS or loop.time() >= self._deadline:
                break
            await asyncio.sleep(_LOOK_SECONDS)
        return False

    def _read(self, reply: Reply, data: bytes) -> None:
        try:
            reply.feed(data)
        except NotHttpError as problem:
            answers = reply.informed or problem.start.lstrip(_LINE_ENDS).startswith(b"HTTP/")
            left_over = self.kept and not answers
            if left_over:  # of an earlier answer; this request's own may be behind it
                self._owner.strayed()
            self._settle(StaleConnectionError() if left_over else problem)
        else:
            if reply.done:
                self._settle()

    def _end(self, problem: Exception | None) -> None:
        """Settle an exchange whose connection has ended in the middle."""
        reply = self._reply
        if reply is None or reply.done:
            return
        reply.end(in_order=problem is None)
        if reply.status:
            self._settle()
        elif self.kept and not reply.begun:
            self._settle(StaleConnectionError())
        elif problem is None or isinstance(problem, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            self._settle(ConnectionResetError(errno.ECONNRESET, "closed"))
        else:
            self._settle(problem)

    def _set_deadline(self, loop: asyncio.AbstractEventLoop, seconds: float) -> None:
        """
        Have the exchange end in time.

        One timer serves one exchange after another: a new one is made only if it would be late.
        """
        self._deadline = loop.time() + seconds
        if self._timer is None or self._timer.when() > self._deadline:
            if self._timer:
                self._timer.cancel()
            self._timer = loop.call_at(self._deadline, self._expire)

    def _expire(self) -> None:
        self._timer = None
        if self._reply is None or self._reply.done:
            return
        loop = asyncio.get_running_loop()
        if loop.time() < self._deadline:
            self._timer = loop.call_at(self._deadline, self._expire)
            return
        self._reply.end(in_order=False)
        self._settle(None if self._reply.status else TimeoutError())

    def _settle(self, problem: Exception | None = None) -> None:
        if self._answered is None or self._answered.done():
            return
        if problem is None:
            self._answered.set_result(None)
        else:
            self._answered.set_exception(problem)
