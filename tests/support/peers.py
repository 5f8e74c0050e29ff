"""
Receivers of webhooks over real TLS sockets, good and bad.

A behaviour is what a receiver does with one request: a function of the peer it came from and the
request itself. It writes raw bytes, so that it can break every rule an HTTP library would keep.

    with Receiver(answer(204), Authority()) as receiver:
        ...POST to receiver.url, then look at receiver.requests
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Self

import trustme

if TYPE_CHECKING:
    from pathlib import Path

LOOPBACK = "127.0.0.1"


@dataclass(frozen=True)
class Received:
    """One request as it came in; header names in lower case, values as raw bytes."""

    method: str
    target: str
    headers: dict[str, bytes]
    body: bytes


class Peer:
    """The sender, as seen from its one connection."""

    def __init__(self, connection: ssl.SSLSocket | socket.socket, stopped: threading.Event):
        self.connection = connection
        self._stopped = stopped
        self._unread = b""

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def wait(self, seconds: float) -> bool:
        """Let time pass; true when the receiver is being closed."""
        return self._stopped.wait(seconds)

    def close(self) -> None:
        """End the connection in the ordinary way."""
        self.connection.close()

    def reset(self) -> None:
        """End it with a TCP reset."""
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # Not detached and closed: TLS would read on from a descriptor that is another's by then.
        self.connection.close()

    def read(self) -> Received | None:
        """Read the next request; None at the end of the connection."""
        while b"\r\n\r\n" not in self._unread:
            if not self._fill():
                return None
        head, _, self._unread = self._unread.partition(b"\r\n\r\n")
        line, *fields = head.split(b"\r\n")
        method, target, _ = line.decode("latin-1").split(" ")
        pairs = (field.partition(b":") for field in fields)
        headers = {name.decode("latin-1").lower(): value.strip() for name, _, value in pairs}
        length = int(headers.get("content-length", b"0"))
        while len(self._unread) < length:
            if not self._fill():
                return None
        body, self._unread = self._unread[:length], self._unread[length:]
        return Received(method, target, headers, body)

    def _fill(self) -> bool:
        data = self.connection.recv(65536)
        self._unread += data
        return bool(data)


Behaviour = Callable[[Peer, Received], None]
Fields = Iterable[tuple[str, str]]


# What a receiver may do.


def response(status: int = 200, body: bytes = b"ok", headers: Fields = ()) -> bytes:
    """Write a whole and correct answer."""
    body = b"" if status == 204 else body
    fields = [*headers, ("Content-Length", str(len(body)))]
    lines = [f"HTTP/1.1 {status} Whatever", *(f"{name}: {value}" for name, value in fields)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def answer(status: int = 200, body: bytes = b"ok", headers: Fields = ()) -> Behaviour:
    """Answer at once, and keep the connection."""
    return raw(response(status, body, headers))


def echo(peer: Peer, request: Received) -> None:
    """Answer with the request: its target, headers and body."""
    headers = {name: value.decode("latin-1") for name, value in request.headers.items()}
    seen = {"url": request.target, "headers": headers, "data": request.body.decode()}
    peer.send(response(body=json.dumps(seen).encode()))


def raw(data: bytes) -> Behaviour:
    """Send these bytes, whatever they are, and keep the connection."""
    return lambda peer, _: peer.send(data)


def raw_then_close(data: bytes) -> Behaviour:
    """Send these bytes, and close."""

    def behave(peer: Peer, _: Received) -> None:
        peer.send(data)
        peer.close()

    return behave


def raw_then_reset(data: bytes = b"") -> Behaviour:
    """Send these bytes, if any, and reset the connection."""

    def behave(peer: Peer, _: Received) -> None:
        peer.send(data)
        peer.wait(0.05)  # a reset overtakes what has not been read yet
        peer.reset()

    return behave


def raw_then_silence(data: bytes = b"") -> Behaviour:
    """Send these bytes, if any, and nothing more, for as long as the sender stays."""

    def behave(peer: Peer, _: Received) -> None:
        peer.send(data)
        peer.wait(60)

    return behave


def drip(data: bytes, interval: float, start: bytes = b"") -> Behaviour:
    """Send the start at once, the rest byte by byte."""

    def behave(peer: Peer, _: Received) -> None:
        peer.send(start)
        for byte in data:
            if peer.wait(interval):
                return
            peer.send(bytes([byte]))

    return behave


def delayed(seconds: float, then: Behaviour) -> Behaviour:
    """Wait, then behave."""

    def behave(peer: Peer, request: Received) -> None:
        if not peer.wait(seconds):
            then(peer, request)

    return behave


def gzip_bomb(peer: Peer, _: Received) -> None:
    """Answer with 64 MiB of zeros in 64 KiB of gzip."""
    # In pieces, since to compress all of it takes longer than the tests' deadlines.
    bomb = gzip.compress(bytes(2**20)) * 64
    peer.send(response(body=bomb, headers=[("Content-Encoding", "gzip")]))


def endless_body(peer: Peer, _: Received) -> None:
    """Answer with a body that never ends."""
    peer.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    while not peer.wait(0):
        peer.send(b"10000\r\n" + b"a" * 65536 + b"\r\n")


def endless_headers(peer: Peer, _: Received) -> None:
    """Send headers that never end."""
    peer.send(b"HTTP/1.1 200 OK\r\n")
    for n in itertools.count():
        if peer.wait(0):
            return
        peer.send(b"X-%d: %s\r\n" % (n, b"a" * 8000))


def in_turn(*behaviours: Behaviour) -> Behaviour:
    """Behave differently request by request; the last way stays."""
    numbers, lock = itertools.count(), threading.Lock()

    def behave(peer: Peer, request: Received) -> None:
        with lock:
            turn = next(numbers)
        behaviours[min(turn, len(behaviours) - 1)](peer, request)

    return behave


# What makes a receiver.


class Authority:
    """A certificate authority of our own, and what it signs."""

    def __init__(self, ca: trustme.CA | None = None) -> None:
        self._ca = ca or trustme.CA()
        self.pem = self._ca.cert_pem.bytes()

    def below(self) -> Authority:
        """Make an authority that this one has signed."""
        return Authority(self._ca.create_child_ca())

    def write(self, path: Path) -> str:
        """Write the CA's own certificate where a connection's `verify` can name it."""
        path.write_bytes(self.pem)
        return str(path)

    def issue(self, *names: str, expired: bool = False) -> trustme.LeafCert:
        """Issue a certificate; without names, for all that the tests connect to."""
        until = datetime(2020, 1, 1, tzinfo=UTC) if expired else None
        return self._ca.issue_cert(
            *(names or (LOOPBACK, "localhost", "hooks.test")), not_after=until
        )

    def trust(self, context: ssl.SSLContext) -> None:
        """Make a server's context ask its clients for certificates of this authority."""
        self._ca.configure_trust(context)
        context.verify_mode = ssl.CERT_REQUIRED


class Receiver:
    """
    A server on loopback, for as long as its `with` block lasts.

    :param behaviour: what it does with each request
    :param authority: who signs its certificate; None: no TLS at all
    :param certificate: another certificate than one for 127.0.0.1, localhost and hooks.test
    :param clients: the authority its clients need a certificate of
    :param address: where it listens, and `port`: a free one by default
    """

    def __init__(
        self,
        behaviour: Behaviour,
        authority: Authority | None,
        *,
        certificate: trustme.LeafCert | None = None,
        clients: Authority | None = None,
        address: str = LOOPBACK,
        port: int = 0,
    ):
        self._behaviour = behaviour
        self._context = None if authority is None else ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        if self._context and authority:
            (certificate or authority.issue()).configure_cert(self._context)
        if self._context and clients:
            clients.trust(self._context)
        self._listener = socket.create_server((address, port), backlog=512)
        self._stopped = threading.Event()
        self._open: set[socket.socket] = set()
        self.port = self._listener.getsockname()[1]
        self.requests: list[Received] = []
        self.connections = 0

    def url(self, path: str = "/hook", host: str = LOOPBACK) -> str:
        return f"https://{host}:{self.port}{path}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        for opened in (self._listener, *list(self._open)):
            with contextlib.suppress(OSError):
                opened.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while not self._stopped.is_set():
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.add(connection)
        with contextlib.suppress(OSError, ValueError):  # the peer has gone, or we have
            self._handle(connection)
        self._open.discard(connection)
        with contextlib.suppress(OSError):
            connection.close()

    def _handle(self, connection: socket.socket) -> None:
        if self._context:
            connection = self._context.wrap_socket(connection, server_side=True)
        self._open.add(connection)
        try:
            peer = Peer(connection, self._stopped)
            while request := peer.read():
                self.requests.append(request)
                self._behaviour(peer, request)
        finally:
            self._open.discard(connection)
            connection.close()


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Hold a port on which nobody listens: connections to it are refused."""
    with socket.socket() as holder:
        holder.bind((LOOPBACK, 0))
        yield holder.getsockname()[1]


@contextlib.contextmanager
def mute_port() -> Iterator[int]:
    """Listen without ever accepting: TCP connects, then nothing, not even TLS."""
    with socket.create_server((LOOPBACK, 0), backlog=64) as listener:
        yield listener.getsockname()[1]


@contextlib.contextmanager
def plain_port(data: bytes) -> Iterator[int]:
    """Speak first, and without TLS, to whoever connects."""

    def greet(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(data)
                    connection.recv(65536)

    with socket.create_server((LOOPBACK, 0)) as listener:
        threading.Thread(target=greet, args=(listener,), daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


@contextlib.contextmanager
def proxy(seen: list[str]) -> Iterator[Receiver]:
    """Run an HTTP proxy that tunnels what it is asked to; `seen` gets each CONNECT's target."""

    def tunnel(peer: Peer, request: Received) -> None:
        seen.append(request.target)
        port = request.target.rpartition(":")[2]
        # Names in these tests exist nowhere: the proxy knows them as itself.
        with socket.create_connection((LOOPBACK, int(port))) as onward:
            peer.send(b"HTTP/1.1 200 Connection established\r\n\r\n")
            _pump(peer.connection, onward)

    with Receiver(tunnel, None) as receiver:
        yield receiver


def _pump(client: socket.socket, server: socket.socket) -> None:
    def copy(source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with contextlib.suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    back = threading.Thread(target=copy, args=(server, client), daemon=True)
    back.start()
    copy(client, server)
    back.join()
