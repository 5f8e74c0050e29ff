"""The connections to one server: when one is opened, kept, reused and closed (Contract 2.6)."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from zbl_provider.delivery.http.addresses import Addresses
from zbl_provider.delivery.http.limits import (
    PAUSE_SECONDS,
    WAIT_SECONDS,
    ShortageError,
    Shortages,
)
from zbl_provider.delivery.http.reply import SUCCESS

if TYPE_CHECKING:
    from zbl_provider.delivery.http.connection import Connection
    from zbl_provider.delivery.http.connector import Connector
    from zbl_provider.delivery.http.reply import Reply
    from zbl_provider.delivery.http.route import Route

# Receivers drop idle connections after five seconds and more. Dropping them first spares a lead
# the race in which both happen at once.
_IDLE_SECONDS: Final = 4.0
_MARGIN_SECONDS: Final = 1.0  # of what a server says in `Keep-Alive: timeout=`
# After a server's first answer, and after each that is no success, its connection rests: a second
# answer to the same request, or what is left of the first, follows at once if ever.
_REST_SECONDS: Final = 0.05
_STALE_IN_A_ROW: Final = 3
_FORGET_SECONDS: Final = 60.0  # after which a server that ended kept connections gets a new chance
_CLOSING_SECONDS: Final = 1.0


class Pool:
    """
    Opens connections to one server, and keeps those that can carry another request.

    Whoever needs one takes the first that is there: one that is kept, one that another request has
    just given back, or one that is opened meanwhile. So a server that serves one connection at a
    time gets all requests on that one.

    :param route: which addresses may be connected to
    :param connector: opens the connections
    :param keep_alive: whether connections are used again at all
    :param open_seconds: how long it may take to open one
    """

    def __init__(
        self, route: Route, connector: Connector, *, keep_alive: bool, open_seconds: float
    ) -> None:
        self._shortages = Shortages()
        self._addresses = Addresses(route, self._shortages)
        self._connector = connector
        self._open_seconds = open_seconds
        self._keep_from = 0.0 if keep_alive else math.inf
        self._idle: list[Connection] = []
        self._resting: dict[Connection, asyncio.TimerHandle] = {}
        self._open: set[Connection] = set()
        self._waiting: deque[_Waiter] = deque()
        self._opening: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._all_closed: asyncio.Event | None = None
        self._is_trusted = False
        self._stale = 0
        self._stale_at = 0.0

    def was_short_since(self, moment: float) -> bool:
        """Tell whether this machine has kept requests waiting since then."""
        return self._shortages.any_since(moment)

    @property
    def keeps(self) -> bool:
        """Whether connections are kept after their answers now."""
        return self._keep_from <= 0 or time.monotonic() >= self._keep_from

    async def take(self, *, new: bool = False) -> Connection:
        """
        Return a connection for one request; the caller limits the time.

        :param new: whether it must be one that was never kept
        :raises BlockedAddress: if the name leads where the guard lets nobody go
        :raises ShortageError: if this machine has had no connection left for three seconds
        :raises OSError: if none can be opened
        :raises TunnelRefusedError: if the proxy refuses
        """
        if not self._addresses.fresh:
            await self._addresses.look_up()
        if not new and (connection := self._pop_kept()):
            return connection
        while True:
            connection = await self._wait(new=new)
            # A busy event loop may have let time pass since it was handed over.
            if not connection.kept or connection.is_quiet():
                return connection
            connection.close()

    async def _wait(self, *, new: bool) -> Connection:
        waiter = _Waiter(new=new)
        self._waiting.append(waiter)
        self._open_more()
        try:
            return await waiter.connection
        except asyncio.CancelledError:
            waiter.leave(self)
            raise
        finally:
            if waiter in self._waiting:
                self._waiting.remove(waiter)

    def take_kept(self) -> Connection | None:
        """
        Give a kept connection on which nothing has happened, and which leads where the name does.

        :returns: None where there is none, or the name is to be looked up first
        """
        return self._pop_kept() if self._addresses.fresh else None

    def _pop_kept(self) -> Connection | None:
        now = time.monotonic()
        while self._idle:
            connection = self._idle.pop()
            if (
                connection.keep_until > now
                and connection.address in self._addresses.known
                and connection.is_quiet()
            ):
                return connection
            connection.close()
        return None

    def give_back(self, connection: Connection, reply: Reply) -> None:
        """
        Take a connection back after an answer.

        :param connection: as `take` gave it; it may be closed
        :param reply: what it brought
        """
        if connection.kept:
            self._stale = 0
        self._addresses.preferred = connection.address
        seconds = _IDLE_SECONDS
        if (announced := reply.keep_alive_seconds) is not None:
            # Before the server closes it: less a margin, and never long.
            seconds = min(seconds, announced - min(_MARGIN_SECONDS, announced / 2))
        if connection.closed or not seconds or not self.keeps:
            connection.close()
            return
        connection.kept = True
        connection.keep_until = time.monotonic() + seconds
        if self._is_trusted and reply.status in SUCCESS:
            self.offer(connection)
        else:
            loop = asyncio.get_running_loop()
            self._resting[connection] = loop.call_later(_REST_SECONDS, self._rested, connection)

    def failed(self) -> None:
        """Take note that an attempt failed: the name, or what is behind an address, may move."""
        self._addresses.doubt()

    def ended(self, connection: Connection) -> None:
        """
        Take note that a kept connection had ended when it was needed.

        A server that restarts ends all of its connections at once: that counts as once.
        """
        if connection.opened_at < self._stale_at:
            return
        self._stale_at = time.monotonic()
        self._stale += 1
        if self._stale >= _STALE_IN_A_ROW:
            self._keep_none(_FORGET_SECONDS)

    def offer(self, connection: Connection) -> None:
        """
        Hand a connection to whoever has waited longest, or keep it.

        :param connection: which carries no request
        """
        for waiter in self._waiting:
            if waiter.accepts(connection):
                self._waiting.remove(waiter)
                waiter.connection.set_result(connection)
                return
        if connection.closed or not self.keeps:
            connection.close()
            return
        if not connection.kept:  # it was opened for somebody who has left
            connection.kept = True
            connection.keep_until = time.monotonic() + _IDLE_SECONDS
        self._idle.append(connection)
        if self._timer is None:
            self._close_overdue()

    async def close(self) -> None:
        """Close all connections, and end all that is under way."""
        self._addresses.close()
        for task in self._opening:
            task.cancel()
        for handle in (*self._resting.values(), *filter(None, [self._timer])):
            handle.cancel()
        for connection in self._open:
            connection.close()
        if self._open:
            self._all_closed = asyncio.Event()
            try:
                async with asyncio.timeout(_CLOSING_SECONDS):
                    await self._all_closed.wait()
            except TimeoutError:
                for connection in list(self._open):
                    connection.abort()
                await asyncio.sleep(0)

    # What a connection tells.

    def opened(self, connection: Connection) -> None:
        """Take note of a connection that is open."""
        self._open.add(connection)

    def lost(self, connection: Connection) -> None:
        """Take note of a connection whose socket is closed."""
        self._open.discard(connection)
        if self._all_closed and not self._open:
            self._all_closed.set()

    def strayed(self) -> None:
        """Keep no connection of a server that sends what nobody has asked for."""
        self._keep_none(math.inf)

    def _keep_none(self, seconds: float) -> None:
        self._stale = 0
        self._keep_from = max(self._keep_from, time.monotonic() + seconds)
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    def _rested(self, connection: Connection) -> None:
        del self._resting[connection]
        if connection.closed:
            self._open_more()
        else:
            self._is_trusted = True
            self.offer(connection)

    def _close_overdue(self) -> None:
        """Close what has been idle for too long: a server with one thread waits for that."""
        now = time.monotonic()
        for connection in self._idle:
            if connection.keep_until <= now:
                connection.close()
        self._idle = [connection for connection in self._idle if not connection.closed]
        self._timer = None
        if self._idle:
            left = min(connection.keep_until for connection in self._idle) - now
            self._timer = asyncio.get_running_loop().call_later(left, self._close_overdue)

    def _open_more(self) -> None:
        """Open as many connections as are waited for, beside those that come back soon."""
        waiting = [waiter for waiter in self._waiting if not waiter.connection.done()]
        new = sum(waiter.new for waiter in waiting)
        missing = max(new, len(waiting) - len(self._resting)) - len(self._opening)
        for _ in range(missing):
            self._opening.add(asyncio.create_task(self._open_connection()))

    async def _open_connection(self) -> None:
        began = time.monotonic()
        problem: Exception | None = None
        try:
            async with asyncio.timeout(self._open_seconds) as limit:
                if self._shortages.any_since(began - PAUSE_SECONDS):
                    await asyncio.sleep(PAUSE_SECONDS)
                connection = await self._connector.open(
                    self._addresses.in_order(), self._open_seconds, owner=self
                )
                self.offer(connection)
        except Exception as raised:  # noqa: BLE001  whoever waits is told, whatever it is
            problem = None if limit.expired() else raised  # those who wait have their own deadline
        finally:
            self._opening.remove(asyncio.current_task())  # type: ignore[arg-type]  # it runs
        if problem:
            self._tell(problem, began)
        self._open_more()

    def _tell(self, problem: Exception, began: float) -> None:
        """Report a failure to a request that waits, unless that came after the attempt began."""
        limit = self._shortages.notice(problem)
        for waiter in list(self._waiting):
            if limit and time.monotonic() - waiter.since >= WAIT_SECONDS:
                waiter.fail(ShortageError(limit))
            elif not limit and waiter.since <= began and waiter.fail(problem):
                return


class _Waiter:
    """
    A request that waits for a connection.

    :param new: whether it must be one that was never kept
    """

    __slots__ = ("connection", "new", "since")

    def __init__(self, *, new: bool) -> None:
        self.new = new
        self.since = time.monotonic()
        self.connection: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

    def accepts(self, connection: Connection) -> bool:
        return not self.connection.done() and not connection.closed and not (
            self.new and connection.kept
        )  # fmt: skip

    def fail(self, problem: Exception) -> bool:
        """Tell the reason; false if there is nobody to be told."""
        if self.connection.done():
            return False
        self.connection.set_exception(problem)
        return True

    def leave(self, pool: Pool) -> None:
        """Give back what came in the moment in which its request was given up."""
        done = self.connection.done() and not self.connection.cancelled()
        if done and not self.connection.exception():
            pool.offer(self.connection.result())
