"""Which addresses are connected to: looked up, and judged by the guard."""

from __future__ import annotations

import socket
from ipaddress import ip_address
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from zbl_provider.delivery.http.resolver import is_unknown
from zbl_provider.exceptions import BlockedAddress

if TYPE_CHECKING:
    from collections.abc import Sequence

    from zbl_provider.delivery.guard import Guard
    from zbl_provider.delivery.http.resolver import Resolver

AT_THE_PROXY: Final = "it is the proxy's"
"""The note of an error that keeps everybody from the proxy itself, whatever the destination is."""

_PROXY_PORT: Final = 80


class Route:
    """
    The way to one server: directly, or through a proxy.

    :param host: the server's name or address
    :param port: its TCP port
    :param proxy: URL of an HTTP proxy; None: directly
    :param guard: which addresses may be reached
    :param resolver: how names are looked up
    """

    __slots__ = ("_guard", "_hop", "_resolver", "_server", "port", "proxy")

    def __init__(
        self, host: str, port: int, *, proxy: str | None, guard: Guard, resolver: Resolver
    ) -> None:
        self._server = (host, port)
        self._hop = self._server
        if proxy:
            parts = urlsplit(proxy)
            self._hop = (parts.hostname or "", parts.port or _PROXY_PORT)
        self._guard = guard
        self._resolver = resolver
        self.proxy = proxy
        self.port = self._hop[1]

    async def addresses(self) -> Sequence[str]:
        """
        Find the addresses that may be connected to (Contract 7.1).

        :returns: the server's, or its proxy's, the preferred one first
        :raises BlockedAddress: if any of the name's addresses may not be reached
        :raises OSError: if the name has none, or the look-up failed
        """
        if self.proxy:
            # The proxy looks the name up itself, and its own rules decide. Where the name means
            # something here, too, it must not be what the guard refuses. Only a name that surely
            # does not exist here is left to the proxy: a silent name server must not open the
            # guard.
            try:
                await self._look_up(*self._server)
            except OSError as problem:
                if not is_unknown(problem):
                    raise
        try:
            return await self._look_up(*self._hop)
        except (OSError, BlockedAddress) as problem:
            if self.proxy:
                problem.add_note(AT_THE_PROXY)
            raise

    async def _look_up(self, host: str, port: int) -> Sequence[str]:
        try:
            ip_address(host)
        except ValueError:
            addresses = await self._resolver(host, port)
        else:
            addresses = [host]
        if not addresses:
            raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
        for address in addresses:
            self._guard.check(address)
        return addresses


def environment_proxy(url: str) -> str | None:
    """
    Choose the environment's proxy for a URL, as `requests` does (Contract 2.5).

    :param url: where to
    :returns: the proxy's URL as it stands there, or None
    """
    from requests.utils import get_environ_proxies, select_proxy

    return select_proxy(url, get_environ_proxies(url))
