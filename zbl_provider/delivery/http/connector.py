"""From addresses to an open connection: TCP, a proxy's tunnel, TLS."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
from base64 import b64encode
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote, urlsplit

from aiohappyeyeballs import start_connection

from zbl_provider.delivery.http.connection import Connection
from zbl_provider.delivery.http.reply import MAX_BYTES, SUCCESS, NotHttpError, Reply
from zbl_provider.delivery.http.route import AT_THE_PROXY
from zbl_provider.delivery.http.tls import server_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zbl_provider.delivery.http.connection import Owner

_NEXT_ADDRESS_SECONDS: Final = 0.25  # RFC 8305, section 5
_GOODBYE_SECONDS: Final = 0.2


class TunnelRefusedError(Exception):
    """
    A proxy that does not let anything through.

    :param status: what it answered; 0 where that was no HTTP
    """

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


class Tunnel:
    """
    A way through a proxy to a server (RFC 9110, section 9.3.6).

    :param host: the server's name or address
    :param port: its TCP port
    :param proxy: URL of the HTTP proxy, perhaps with credentials
    """

    __slots__ = ("_request",)

    def __init__(self, host: str, port: int, proxy: str) -> None:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        lines = [f"CONNECT {authority} HTTP/1.1", f"Host: {authority}"]
        parts = urlsplit(proxy)
        if parts.username is not None:
            credentials = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            lines.append(f"Proxy-Authorization: Basic {b64encode(credentials).decode()}")
        self._request = "\r\n".join([*lines, "", ""]).encode("ascii")

    async def open(self, sock: socket.socket) -> None:
        """
        Ask the proxy to connect to the server.

        :param sock: connected to the proxy
        :raises TunnelRefusedError: if the proxy refuses
        """
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(sock, self._request)
        reply, received = Reply(), 0
        # After its empty line the proxy sends nothing until TLS begins.
        while not reply.status and received < MAX_BYTES:
            data = await loop.sock_recv(sock, 4096)
            received += len(data)
            try:
                if data:
                    reply.feed(data)
                else:
                    reply.end(in_order=True)
                    break
            except NotHttpError:
                break
        if reply.status not in SUCCESS:
            raise TunnelRefusedError(reply.status)


class Connector:
    """
    Opens connections to one server.

    :param host: the name or address that its certificate must hold
    :param port: the server's TCP port
    :param context: whom to trust, and which certificate to show
    :param proxy: URL of the HTTP proxy that the addresses are of; None: they are the server's
    :param hop_port: the TCP port to connect to: the proxy's, or else the server's
    """

    __slots__ = ("_context", "_hop_port", "_name", "_tunnel")

    def __init__(
        self, host: str, port: int, context: ssl.SSLContext, *, proxy: str | None, hop_port: int
    ) -> None:
        self._name = server_name(host)
        self._context = context
        self._hop_port = hop_port
        self._tunnel = Tunnel(host, port, proxy) if proxy else None

    async def open(self, addresses: Sequence[str], seconds: float, *, owner: Owner) -> Connection:
        """
        Connect to one of these addresses, and to no other (Contract 7.1).

        The connection itself is the trial: an address that accepts and then fails gives way to the
        next.

        :param addresses: the preferred one first
        :param seconds: how long it may take in all; the caller ends it then
        :param owner: the connection's
        :raises OSError: if nobody answers, or TLS is not to be trusted
        :raises TunnelRefusedError: if the proxy refuses
        """
        until = asyncio.get_running_loop().time() + seconds
        untried = list(addresses)
        first_problem: OSError | TunnelRefusedError | None = None
        while untried:
            try:
                sock, address = await self._connect(untried)
            except OSError as problem:
                raise first_problem or problem from None
            untried.remove(address)
            left = until - asyncio.get_running_loop().time()
            try:
                # One that accepts and stays silent may not use up the others' time.
                async with asyncio.timeout(left / (len(untried) + 1) if untried else None):
                    return await self._secure(sock, address, owner)
            except (OSError, TunnelRefusedError) as problem:
                first_problem = first_problem or problem
        raise first_problem or OSError(errno.EHOSTUNREACH, "no address")

    async def _connect(self, addresses: Sequence[str]) -> tuple[socket.socket, str]:
        made: dict[socket.socket, str] = {}

        def make(info: Any) -> socket.socket:  # noqa: ANN401  aiohappyeyeballs' own tuple
            sock = socket.socket(info[0], info[1], info[2])
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            made[sock] = info[3]
            return sock

        flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
        infos: list[Any] = []
        for address in addresses:
            (family, kind, protocol, _, sockaddr), *_ = socket.getaddrinfo(
                address, self._hop_port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP,
                flags=flags,
            )  # fmt: skip
            # In the place of the canonical name: `make` is to know the address as it was judged.
            infos.append((family, kind, protocol, address, sockaddr))
        try:
            sock = await start_connection(
                infos,
                happy_eyeballs_delay=_NEXT_ADDRESS_SECONDS,
                interleave=1,
                socket_factory=make,
            )
        except OSError as problem:
            ipv4 = [address for address in addresses if ":" not in address]
            if problem.errno is None and 0 < len(ipv4) < len(addresses):
                # They failed in different ways, and aiohappyeyeballs names none of them. Where this
                # machine has no IPv6, the reason of IPv4 counts: it may be out of ports.
                return await self._connect(ipv4)
            told = _with_errno(problem, addresses)
            if self._tunnel:
                told.add_note(AT_THE_PROXY)
            raise told from None
        return sock, made[sock]

    async def _secure(self, sock: socket.socket, address: str, owner: Owner) -> Connection:
        try:
            if self._tunnel:
                await self._tunnel.open(sock)
        except BaseException:
            sock.close()
            raise
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: Connection(sock, address, owner),
                sock=sock,
                ssl=self._context,
                server_hostname=self._name,
                ssl_shutdown_timeout=_GOODBYE_SECONDS,
            )
        except ConnectionResetError as problem:
            if problem.errno is None:  # an event loop's word for a server that closes in order
                raise ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "closed in the handshake") from None
            raise
        return connection


def _with_errno(problem: OSError, addresses: Sequence[str]) -> OSError:
    """Give a failure to connect a number that says what it was."""
    if problem.errno is None:  # they failed in different ways
        return OSError(errno.EHOSTUNREACH, "no address answers")
    if problem.errno == errno.EADDRNOTAVAIL and all(":" in address for address in addresses):
        # For IPv6 it means that this machine has none; for IPv4, that its ports are used up.
        return OSError(errno.ENETUNREACH, "no IPv6 here")
    return problem
