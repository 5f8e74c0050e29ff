"""
A network with a round trip: what one end says reaches the other half a round trip later.

A process of its own, so that a busy sender delays nothing. Data, half closes and resets arrive in
the order in which they were sent. As over a real network, connecting takes a whole round trip.

    with running_forwarder(server_port, 0.1) as forwarder:
        ...connect to forwarder.port
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import subprocess
import sys
import time
from collections import deque
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

LOOPBACK = "127.0.0.1"
_ROOT = Path(__file__).parents[2]
_CHUNK = 65536
# What may be on its way at once: as much as a fast line holds, so that a slow reader is felt.
_WINDOW = 8 * 2**20


@dataclass
class Forwarder:
    """
    A running forwarder, as its user sees it.

    :param port: where to connect
    :param connections: how many were made; known once it has ended
    """

    port: int
    connections: int = 0


@contextmanager
def running_forwarder(port: int, round_trip: float) -> Iterator[Forwarder]:
    """
    Forward to a server on loopback for as long as the block lasts.

    :param port: the server's
    :param round_trip: in seconds
    """
    command = [sys.executable, "-m", "tests.servers.forwarder", str(port), str(round_trip)]
    with subprocess.Popen(
        command, cwd=_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        forwarder = Forwarder(json.loads(process.stdout.readline()))
        try:
            yield forwarder
        finally:
            forwarder.connections = json.loads(process.communicate()[0])


class _End(Enum):
    """How one end ends its half of a connection."""

    CLOSE = auto()
    RESET = auto()


@dataclass(eq=False)
class _Side:
    """
    One of the two sockets of a connection, and what is on its way to it.

    :param delay: seconds that everything takes on its way here
    :param opens_at: nothing arrives before
    """

    socket: socket.socket
    delay: float
    opens_at: float
    coming: deque[tuple[float, bytes | _End]] = field(default_factory=deque)
    size: int = 0
    said_all: bool = False  # it has closed or reset: nothing more is read from it
    heard_all: bool = False  # it has been told that the other side has closed
    blocked: bool = False  # its buffer is full
    watched: int = 0

    def expect(self, what: bytes | _End) -> None:
        """Put something on its way to this side."""
        due = max(time.monotonic() + self.delay, self.opens_at)
        self.coming.append((due, what))
        self.size += len(what) if isinstance(what, bytes) else 0


class _Relay:
    """The forwarder's own process."""

    def __init__(self, port: int, round_trip: float) -> None:
        self.connections = 0
        self._server = (LOOPBACK, port)
        self._round_trip = round_trip
        self._epoll = select.epoll()
        self._listener = socket.create_server((LOOPBACK, 0), backlog=1024)
        self._listener.setblocking(False)
        self.port = int(self._listener.getsockname()[1])
        self._sides: dict[int, _Side] = {}
        self._other: dict[_Side, _Side] = {}
        for descriptor in (self._listener.fileno(), sys.stdin.fileno()):
            self._epoll.register(descriptor, select.EPOLLIN)

    def run(self) -> None:
        """Forward until the standard input ends."""
        while True:
            for descriptor, events in self._epoll.poll(self._patience()):
                if descriptor == sys.stdin.fileno():
                    return
                if descriptor == self._listener.fileno():
                    self._accept()
                elif side := self._sides.get(descriptor):
                    self._on_events(side, events)
            for side in list(self._other):
                self._deliver(side)
            for side in list(self._other):
                self._watch(side)

    def _patience(self) -> float:
        """Give the seconds until something is due."""
        dues = [side.coming[0][0] for side in self._other if side.coming and not side.blocked]
        return max(min(dues) - time.monotonic(), 0) if dues else -1

    def _accept(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                client, _ = self._listener.accept()
                self._connect(client)

    def _connect(self, client: socket.socket) -> None:
        self.connections += 1
        server, now, delay = socket.socket(), time.monotonic(), self._round_trip / 2
        for end in (client, server):
            end.setblocking(False)
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server.connect_ex(self._server)
        # The client was told at once that it is connected; it should have waited for that.
        there = _Side(server, delay, opens_at=now + self._round_trip + delay, blocked=True)
        here = _Side(client, delay, opens_at=now)
        self._other |= {here: there, there: here}
        for side in (here, there):
            self._sides[side.socket.fileno()] = side
            side.watched = self._wanted(side)
            self._epoll.register(side.socket.fileno(), side.watched)

    def _wanted(self, side: _Side) -> int:
        room = self._other[side].size < _WINDOW
        reads = select.EPOLLIN if room and not side.said_all else 0
        return reads | (select.EPOLLOUT if side.blocked else 0)

    def _watch(self, side: _Side) -> None:
        wanted = self._wanted(side)
        if side.watched not in (wanted, -1):
            side.watched = wanted
            self._epoll.modify(side.socket.fileno(), wanted)

    def _on_events(self, side: _Side, events: int) -> None:
        if events & select.EPOLLOUT:
            side.blocked = False
        if events & (select.EPOLLIN | select.EPOLLERR) and not side.said_all:
            self._read(side)
        over = events & select.EPOLLERR or (events & select.EPOLLHUP and side.said_all)
        if over:
            # It would be told of for ever. A reset may also come after a close, unseen by recv.
            self._epoll.unregister(side.socket.fileno())
            side.watched = -1
        if events & select.EPOLLERR:
            self._other[side].expect(_End.RESET)

    def _read(self, side: _Side) -> None:
        """Read what has arrived; after an error, all of it."""
        other = self._other[side]
        try:
            while other.size < _WINDOW and (data := side.socket.recv(_CHUNK)):
                other.expect(data)
            if other.size < _WINDOW:
                other.expect(_End.CLOSE)
                side.said_all = True
        except BlockingIOError:
            pass
        except OSError:
            side.said_all = True
            other.expect(_End.RESET)

    def _deliver(self, side: _Side) -> None:
        """Give a side what is due."""
        while side in self._other and side.coming and not side.blocked:
            due, what = side.coming[0]
            if due > time.monotonic():
                return
            if what is _End.RESET:
                self._end(side, reset=True)
            elif what is _End.CLOSE:
                side.coming.popleft()
                self._close(side)
            else:
                self._write(side, what)

    def _write(self, side: _Side, data: bytes) -> None:
        try:
            sent = side.socket.send(data)
        except BlockingIOError:
            side.blocked = True
        except OSError:
            # It is gone: the other side hears of it half a round trip later.
            side.coming.clear()
            side.size = 0
            self._other[side].expect(_End.RESET)
        else:
            due, _ = side.coming.popleft()
            side.size -= sent
            if sent < len(data):
                side.coming.appendleft((due, data[sent:]))

    def _close(self, side: _Side) -> None:
        side.heard_all = True
        with contextlib.suppress(OSError):
            side.socket.shutdown(socket.SHUT_WR)
        if self._other[side].heard_all:
            self._end(side, reset=False)

    def _end(self, side: _Side, *, reset: bool) -> None:
        for end in (side, self._other[side]):
            if reset:
                linger = struct.pack("ii", 1, 0)
                end.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            del self._sides[end.socket.fileno()], self._other[end]
            end.socket.close()


def main() -> None:
    """Serve as told by the arguments: the server's port, and the round trip in seconds."""
    relay = _Relay(int(sys.argv[1]), float(sys.argv[2]))
    sys.stdout.write(f"{relay.port}\n")
    sys.stdout.flush()
    relay.run()
    sys.stdout.write(f"{relay.connections}\n")


if __name__ == "__main__":
    main()
