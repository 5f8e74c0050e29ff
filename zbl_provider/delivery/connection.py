"""One connection to a destination, which carries one request after another."""

from __future__ import annotations

import asyncio
import errno
import ssl
import time
from contextlib import suppress
from typing import Final

from zbl_provider.delivery.reply import NotHttpError, Reply

_RECORD_BYTES: Final = 16 * 1024  # the most that TLS delivers at once
# Receivers drop idle connections after five seconds and more. Dropping them first spares a lead
# the race in which both happen at once.
_IDLE_SECONDS: Final = 4
_FRESH_SECONDS: Final = 0.02


class Connection:
    """
    An open TLS connection; use it from the event loop that it was made in.

    The socket is read and written without a transport of asyncio's in between, which would take a
    third longer for each lead; docs/libraries.md has the figures.

    :param secured: after its handshake, not blocking
    :param address: where it leads
    """

    __slots__ = ("_answered", "_idle_since", "_loop", "_reply", "_sending_on", "_socket",
                 "_unsent", "address", "closed")  # fmt: skip

    def __init__(self, secured: ssl.SSLSocket, address: str) -> None:
        self.address = address
        self.closed = False
        self._socket = secured
        self._loop = asyncio.get_running_loop()
        self._reply: Reply | None = None
        self._answered: asyncio.Future[None] | None = None
        self._unsent = memoryview(b"")
        self._sending_on = False
        self._idle_since = time.monotonic()
        self._loop.add_reader(secured, self._readable)

    async def exchange(self, request: bytes, seconds: float) -> Reply:
        """
        Send a request and read what is answered; the connection is closed unless all went well.

        :param request: head and body
        :param seconds: until when the headers must be there, and no more is read
        :returns: the answer, with its final status
        :raises TimeoutError: if the headers did not come in time
        :raises OSError: if the connection broke before the headers' end
        :raises NotHttpError: if it is no HTTP that came
        """
        self._reply = reply = Reply()
        self._answered = self._loop.create_future()
        timer = self._loop.call_later(seconds, self._expire)
        try:
            self._unsent = memoryview(request)
            self._send()
            await self._answered
        finally:
            timer.cancel()
            self._reply = self._answered = None
            if not reply.reusable or self._unsent:
                self.close()
        self._idle_since = time.monotonic()
        return reply

    def usable(self, now: float) -> bool:
        """
        Tell whether another request may be sent; if it may not, close.

        :param now: by the clock that never goes back, in seconds
        """
        idle = now - self._idle_since
        if idle > _FRESH_SECONDS and not self.closed:
            self._readable()  # the peer may have closed it since the event loop last looked
        if idle > _IDLE_SECONDS:
            self.close()
        return not self.closed

    def close(self) -> None:
        """Close it, with TLS's goodbye; it may be closed already."""
        if self.closed:
            return
        self.closed = True
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        with suppress(OSError, ValueError):
            self._socket.unwrap()
        self._socket.close()

    def _send(self) -> None:
        try:
            sent = self._socket.send(self._unsent)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            sent = 0
        except OSError:
            # Whatever it was, the reader meets it, too: behind the answer, if one has come.
            self._loop.remove_writer(self._socket)
            return
        self._unsent = self._unsent[sent:]
        if self._unsent:
            self._loop.add_writer(self._socket, self._send)
        elif self._sending_on:
            self._loop.remove_writer(self._socket)
        self._sending_on = bool(self._unsent)

    def _readable(self) -> None:
        """
        Read all that is there.

        uvloop tells only once of a connection that was reset, whatever had arrived before that.
        """
        while self._receive():
            pass

    def _receive(self) -> bool:
        """Read what TLS delivers at once; tell whether there may be more that matters."""
        try:
            data = self._socket.recv(_RECORD_BYTES)
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return False
        except OSError as problem:
            self._break(problem)
            return False
        if self._reply is None:
            self.close()  # nobody has asked
            return False
        if data:
            self._read(self._reply, data)
        else:
            self._ended(self._reply)
        return not self._reply.done

    def _read(self, reply: Reply, data: bytes) -> None:
        try:
            reply.feed(data)
        except NotHttpError as problem:
            self._settle(problem)
        else:
            if reply.done:
                self._settle()

    def _ended(self, reply: Reply) -> None:
        reply.end(in_order=True)
        self._settle(None if reply.status else ConnectionResetError(errno.ECONNRESET, "closed"))

    def _break(self, problem: OSError) -> None:
        if self._reply is None:
            self.close()
            return
        self._reply.end(in_order=False)
        self._settle(None if self._reply.status else _as_reset(problem))

    def _expire(self) -> None:
        if self._reply:
            self._reply.end(in_order=False)
            self._settle(None if self._reply.status else TimeoutError())

    def _settle(self, problem: Exception | None = None) -> None:
        if self._answered is None or self._answered.done():
            return
        if problem is None:
            self._answered.set_result(None)
        else:
            self._answered.set_exception(problem)


def _as_reset(problem: OSError) -> OSError:
    """Read an end of TLS in the middle of an exchange as what it is."""
    if isinstance(problem, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ConnectionResetError(errno.ECONNRESET, "closed")
    return problem
