"""What the faults of the catalogue do that no other test's receiver does."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable

from tests.support.peers import Behaviour, Peer, response

Connection = Callable[[socket.socket, ssl.SSLContext, threading.Event], None]
"""Treats one new connection, until the event is set; TLS, if there is any, is its own business."""

# A handshake message that announces 16 MiB, and never comes to its end.
HANDSHAKE_RECORD = b"\x16\x03\x03\x40\x00" + b"\x0b\xff\xff\xff" + bytes(16380)
_LONG_ENOUGH = 60
_IDLE_SECONDS = 0.1
_LOOK_SECONDS = 0.1  # whether all is over
_GIGABYTE = 2**30


# With a connection


def stay_silent(start: bytes = b"") -> Connection:
    """Send the start, if there is any, and nothing more."""

    def treat(connection, _, over):
        connection.sendall(start)
        over.wait(_LONG_ENOUGH)

    return treat


def stop(data: bytes = b"") -> Connection:
    """Read a little, send the data, if there is any, and close."""

    def treat(connection, _, over):
        connection.recv(65536)
        connection.sendall(data)

    return treat


def reset_connection(connection, _, over):
    """Reset it at once."""
    Peer(connection, over).reset()


def drip_connection(start: bytes) -> Connection:
    """Send the start, and then one byte after another."""

    def treat(connection, _, over):
        connection.sendall(start)
        while not over.wait(0.02):
            connection.sendall(b"\0")

    return treat


def pour_connection(data: bytes) -> Connection:
    """Send the same over and over."""

    def treat(connection, _, over):
        while not over.is_set():
            connection.sendall(data)

    return treat


def never_read(data: bytes = b"") -> Connection:
    """Complete the handshake, send the data, if there is any, and read nothing."""

    def treat(connection, context, over):
        with context.wrap_socket(connection, server_side=True) as secured:
            if data:
                secured.sendall(data)
            over.wait(_LONG_ENOUGH)

    return treat


def answer_unread_and_close(data: bytes) -> Connection:
    """Wait for the start of a request, answer, and close with the rest of it unread."""

    def treat(connection, context, over):
        with context.wrap_socket(connection, server_side=True) as secured:
            secured.settimeout(_LOOK_SECONDS)
            while not over.is_set():
                with contextlib.suppress(TimeoutError):
                    secured.recv(1)
                    secured.sendall(data)
                    return

    return treat


# With a request


def pour(data: bytes, start: bytes = b"") -> Behaviour:
    """Send the start, and then the same over and over."""

    def behave(peer, _):
        peer.send(start + data)
        while not peer.wait(0):
            peer.send(data)

    return behave


def ten_gigabytes(peer, _):
    """Answer with ten gigabytes, and really send them, for as long as the sender reads."""
    peer.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (10 * _GIGABYTE))
    piece = b"a" * 65536
    for _ in range(10 * _GIGABYTE // len(piece)):
        peer.send(piece)


def status_line(rest: bytes) -> Behaviour:
    """Answer with this after the protocol's version."""
    return lambda peer, _: peer.send(b"HTTP/1.1 " + rest + b"\r\nContent-Length: 2\r\n\r\nok")


def later(then: Behaviour) -> Behaviour:
    """Answer, and do something else when the sender has long read the answer."""

    def behave(peer, request):
        peer.send(response())
        if not peer.wait(_IDLE_SECONDS):
            then(peer, request)

    return behave


def close(peer, _):
    """End the connection in the ordinary way."""
    peer.close()


def reset(peer, _):
    """End it with a TCP reset."""
    peer.reset()


def end_tls(peer, _):
    """Say TLS's goodbye, and leave the connection itself open."""
    peer.connection.settimeout(0.1)
    with contextlib.suppress(OSError):  # it would wait for the sender's goodbye
        peer.connection.unwrap()
    peer.wait(_LONG_ENOUGH)
