"""The address that is connected to: looked up, judged by the guard, and chosen."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from zbl_provider.delivery.destination.extra import proxy_url

if TYPE_CHECKING:
    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.guard import Guard

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""Gives a host's addresses as plain text, the preferred one first; raises OSError for none."""

_TRIAL_SECONDS: Final = 2.0
_PROXY_PORT: Final = 80


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """
    Ask the operating system, as every other program on the machine does.

    A look-up cannot be broken off, and where name servers are silent it outlasts the attempt. So it
    has a thread of its own: an event loop would wait for those of its pool before it ends.
    """
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[str]] = loop.create_future()

    def settle(addresses: list[str] | None, problem: OSError | None) -> None:
        if found.done():
            return
        if problem is not None:
            found.set_exception(problem)
        else:
            found.set_result(addresses or [])

    def ask() -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended meanwhile
            try:
                loop.call_soon_threadsafe(settle, look_up(host, port), None)
            except OSError as problem:
                loop.call_soon_threadsafe(settle, None, problem)

    threading.Thread(target=ask, name="zbl-look-up", daemon=True).start()
    return await found


def look_up(host: str, port: int) -> list[str]:
    """
    Ask the operating system, and wait for it.

    :returns: the host's addresses, the preferred one first
    :raises OSError: if it has none
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except UnicodeError:  # a label that no name can have
        raise socket.gaierror(socket.EAI_NONAME, "it is no host name") from None
    return list(dict.fromkeys(str(sockaddr[0]) for *_, sockaddr in found))


class Route:
    """
    The way to one destination: directly, or through the proxy that its connection asks for.

    :param destination: where to
    :param guard: which addresses may be reached
    :param resolver: how names are looked up
    """

    __slots__ = ("_destination", "_guard", "_resolver", "host", "port", "proxy")

    def __init__(self, destination: Destination, guard: Guard, resolver: Resolver) -> None:
        self._destination = destination
        self._guard = guard
        self._resolver = resolver
        self.proxy = _proxy(destination)
        self.host, self.port = _endpoint(destination, self.proxy)

    async def address(self, current: str | None) -> str:
        """
        Find the one address to connect to (Contract 7.1).

        :param current: the address in use, which is kept as long as the name still has it
        :raises BlockedAddress: if any of the name's addresses may not be reached
        :raises OSError: if the name has none
        """
        if self.proxy:
            await self._check_behind_proxy()
        addresses = await self._look_up(self.host, self.port)
        if current in addresses or len(addresses) == 1:
            return current if current in addresses and current else addresses[0]
        return await self._first_reachable(addresses)

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        addresses = [host] if _is_address(host) else await self._resolver(host, port)
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        for address in addresses:
            self._guard.check(address)
        return addresses

    async def _check_behind_proxy(self) -> None:
        # The proxy looks the name up itself, and its own rules decide. Where the name means
        # something here, too, it must not be what the guard refuses.
        with contextlib.suppress(OSError):
            async with asyncio.timeout(_TRIAL_SECONDS):
                await self._look_up(self._destination.host, self._destination.port)

    async def _first_reachable(self, addresses: Sequence[str]) -> str:
        """Try the addresses in turn: the HTTP client is pinned to one, and would not."""
        for address in addresses:
            with contextlib.suppress(OSError):
                async with asyncio.timeout(_TRIAL_SECONDS):
                    _, writer = await asyncio.open_connection(address, self.port)
                writer.close()
                return address
        return addresses[0]


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


def _endpoint(destination: Destination, proxy: str | None) -> tuple[str, int]:
    if proxy is None:
        return destination.host, destination.port
    parts = urlsplit(proxy)
    return parts.hostname or "", parts.port or _PROXY_PORT


def _proxy(destination: Destination) -> str | None:
    """Use the connection's proxy, or the environment's if the connection says so (2.5)."""
    if destination.proxy or not destination.trust_env:
        return destination.proxy
    from requests.utils import get_environ_proxies, select_proxy  # as HttpHook reads them

    found = select_proxy(destination.url, get_environ_proxies(destination.url))
    return proxy_url(found, "the environment's proxy") if found else None
