"""From an address to an open connection: TCP, a proxy's tunnel, TLS."""

from __future__ import annotations

import asyncio
import socket
import ssl
from base64 import b64encode
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

from zbl_provider.delivery.connection import Connection
from zbl_provider.delivery.reply import MAX_BYTES, NotHttpError, Reply
from zbl_provider.delivery.tls import tls_context

if TYPE_CHECKING:
    from collections.abc import Callable

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.route import Route

_SUCCESS: Final = range(200, 300)


class TunnelRefusedError(Exception):
    """
    A proxy that does not let anything through.

    :param status: what it answered; 0 where that was no HTTP
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Connector:
    """
    Opens connections to one destination; its certificate files are read once, here.

    :param destination: where to
    :param route: the way there
    :raises ConfigurationError: if a certificate file cannot be used
    """

    __slots__ = ("_context", "_destination", "_port", "_tunnel")

    def __init__(self, destination: Destination, route: Route) -> None:
        self._destination = destination
        self._port = route.port
        self._tunnel = _tunnel(destination, route.proxy) if route.proxy else None
        self._context = tls_context(destination)

    async def open(self, address: str) -> Connection:
        """
        Connect to this address and nowhere else (Contract 7.1); the caller minds the time.

        :param address: the destination's, or its proxy's
        :raises OSError: if nobody answers there, or TLS is not to be trusted
        :raises TunnelRefusedError: if the proxy refuses
        """
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        raw = socket.socket(family, socket.SOCK_STREAM)
        try:
            raw.setblocking(False)
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await asyncio.get_running_loop().sock_connect(raw, (address, self._port))
            if self._tunnel:
                await _dig(raw, self._tunnel)
            secured = await self._secure(raw)
        except BaseException:
            raw.close()
            raise
        return Connection(secured, address)

    async def _secure(self, raw: socket.socket) -> ssl.SSLSocket:
        secured = self._context.wrap_socket(
            raw, server_hostname=self._destination.host, do_handshake_on_connect=False
        )
        loop = asyncio.get_running_loop()
        try:
            while True:
                try:
                    secured.do_handshake()
                except ssl.SSLWantReadError:
                    await _until(secured, loop.add_reader, loop.remove_reader)
                except ssl.SSLWantWriteError:
                    await _until(secured, loop.add_writer, loop.remove_writer)
                else:
                    return secured
        except BaseException:
            secured.close()
            raise


async def _until(
    secured: ssl.SSLSocket, watch: Callable[..., object], unwatch: Callable[..., object]
) -> None:
    ready = asyncio.Event()
    watch(secured, ready.set)
    try:
        await ready.wait()
    finally:
        unwatch(secured)


def _tunnel(destination: Destination, proxy: str) -> bytes:
    """Ask a proxy for a tunnel to the destination (RFC 9110, section 9.3.6)."""
    host = f"[{destination.host}]" if ":" in destination.host else destination.host
    authority = f"{host}:{destination.port}"
    lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
    parts = urlsplit(proxy)
    if parts.username is not None:
        credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        lines.append(f"Proxy-Authorization: Basic {b64encode(credentials).decode()}")
    return "\r\n".join([*lines, "", ""]).encode("ascii")


async def _dig(raw: socket.socket, request: bytes) -> None:
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(raw, request)
    head = b""
    # Behind the empty line nobody speaks before TLS begins.
    while b"\r\n\r\n" not in head and len(head) < MAX_BYTES:
        data = await loop.sock_recv(raw, 4096)
        if not data:
            break
        head += data
    status = _status(head)
    if status not in _SUCCESS:
        raise TunnelRefusedError(status)


def _status(head: bytes) -> int:
    reply = Reply()
    try:
        reply.feed(head)
    except NotHttpError:
        return 0
    return reply.status
