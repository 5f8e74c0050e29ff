"""A `requests` session that keeps the rules of the wire as far as requests can (Contract 1.1)."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError

from zbl_provider.delivery.http.resolver import is_unknown, look_up
from zbl_provider.delivery.http.tls import server_name
from zbl_provider.delivery.transport import static_headers

if TYPE_CHECKING:
    from zbl_provider.delivery.destination import Destination
    from zbl_provider.delivery.guard import Guard


class WebhookSession(Session):
    """
    A session that speaks HTTPS alone, follows nothing, and does not wait for ever.

    :param destination: its headers, certificates and proxy
    :param guard: which addresses may be reached; the one that is really connected to is judged
    :param timeout: seconds, of each read
    """

    def __init__(self, destination: Destination, guard: Guard, timeout: float) -> None:
        super().__init__()
        self._timeout = timeout
        self.adapters.clear()
        self.mount("https://", _GuardedAdapter(guard))
        self.headers.update(static_headers(destination))
        if not destination.keep_alive:
            self.headers["Connection"] = "close"
        self.trust_env = destination.trust_env
        self.verify = destination.verify
        self.cert = destination.cert
        if destination.proxy:
            self.proxies = {"https": destination.proxy}

    def request(self, *args: Any, **kwargs: Any) -> Response:
        """Send as `requests.Session.request` does, within the session's own bounds."""
        kwargs.setdefault("verify", self.verify)  # else an environment's CA could take its place
        return super().request(*args, **kwargs)

    def send(self, request: PreparedRequest, **kwargs: Any) -> Response:
        """Send a prepared request within the session's own bounds; every request comes here."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        kwargs["allow_redirects"] = False
        return super().send(request, **kwargs)


class _GuardedAdapter(HTTPAdapter):
    """Connects to addresses that have been judged, and to none that a second look-up gives."""

    def __init__(self, guard: Guard) -> None:
        self._pools = {"https": _guarded_pool(guard)}
        super().__init__()

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  of requests
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = manager.pool_classes_by_scheme | self._pools
        return manager


def _guarded_pool(guard: Guard) -> type[HTTPSConnectionPool]:
    class GuardedConnection(HTTPSConnection):
        def connect(self) -> None:
            self.server_hostname = server_name((self._tunnel_host or self.host).strip("[]"))
            super().connect()

        def _new_conn(self) -> socket.socket:
            if self._tunnel_host:
                try:
                    _judged(guard, self._tunnel_host, self._tunnel_port)
                except OSError as problem:
                    # A name that surely does not exist here is the proxy's business.
                    if not is_unknown(problem):
                        raise
            name = self._dns_host
            try:
                *others, last = _judged(guard, name, self.port)
                for self._dns_host in others:
                    with suppress(NewConnectionError, ConnectTimeoutError):
                        return super()._new_conn()
                self._dns_host = last
                return super()._new_conn()
            except socket.gaierror as problem:
                raise NameResolutionError(name, self, problem) from problem
            finally:
                self._dns_host = name  # which the certificate must be for

    class GuardedPool(HTTPSConnectionPool):
        ConnectionCls = GuardedConnection

    return GuardedPool


def _judged(guard: Guard, host: str, port: int | None) -> list[str]:
    """Look a host up, and have every address of it judged; the preferred one comes first."""
    addresses = look_up(host.strip("[]"), port or 0)
    for address in addresses:
        guard.check(address)
    return addresses
