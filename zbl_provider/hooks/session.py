"""A `requests` session that keeps the rules of the wire as far as requests can (Contract 1.1)."""

from __future__ import annotations

import socket
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from requests import PreparedRequest, Request, Response, Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool
from urllib3.exceptions import ConnectTimeoutError, NameResolutionError, NewConnectionError
from urllib3.util.ssl_ import create_urllib3_context, resolve_cert_reqs

from zbl_provider.delivery.http.resolver import is_unknown, look_up
from zbl_provider.delivery.http.tls import server_name, tls_context, trust_what_is_named
from zbl_provider.delivery.transport import static_headers

if TYPE_CHECKING:
    import ssl
    from collections.abc import MutableMapping

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
        self.headers.update(static_headers(destination))
        del self.headers["Content-Type"]  # see `prepare_request`
        if not destination.keep_alive:
            self.headers["Connection"] = "close"
        self.trust_env = destination.trust_env
        self.auth = _from_the_connection
        self.verify = _path(destination.verify)
        cert = destination.cert
        self.cert = (_path(cert[0]), _path(cert[1])) if isinstance(cert, tuple) else _path(cert)
        if destination.proxy:
            self.proxies = {"https": destination.proxy}
        # Of a directory OpenSSL itself knows only files that are named by a hash.
        is_directory = isinstance(self.verify, str) and Path(self.verify).is_dir()
        trusted = tls_context(self.verify, None) if is_directory else None
        self.adapters.clear()
        self.mount("https://", _GuardedAdapter(guard, trusted))

    def merge_environment_settings(
        self,
        url: str | bytes | None,
        proxies: MutableMapping[str, str] | None,
        stream: bool | None,
        verify: bool | str | None,
        cert: str | tuple[str, str] | None,
    ) -> Any:  # noqa: ANN401  of requests
        """Take proxies from the environment, where the connection says so, and nothing else."""
        own: dict[str, Any] = {"verify": self.verify if verify is None else verify}
        if self.proxies:  # to requests the environment's come before them
            own["proxies"] = {**self.proxies, **(proxies or {})}
        return super().merge_environment_settings(url, proxies, stream, verify, cert) | own

    def prepare_request(self, request: Request) -> PreparedRequest:
        """Prepare a request; what does not say what it is, such as a form, is JSON."""
        prepared = super().prepare_request(request)
        prepared.headers.setdefault("Content-Type", "application/json")
        return prepared

    def send(self, request: PreparedRequest, **kwargs: Any) -> Response:
        """Send a prepared request within the session's own bounds; every request comes here."""
        if kwargs.get("timeout") is None:
            kwargs["timeout"] = self._timeout
        kwargs["allow_redirects"] = False
        return super().send(request, **kwargs)

    def get_redirect_target(self, response: Response) -> None:
        """Follow nothing: requests reads Location all the same, and fails where it is no URL."""


class _GuardedAdapter(HTTPAdapter):
    """Connects to addresses that have been judged, and to none that a second look-up gives."""

    def __init__(self, guard: Guard, trusted: ssl.SSLContext | None) -> None:
        self._pools = {"https": _guarded_pool(guard)}
        self._tls: dict[str, Any] = {"ssl_context": trusted} if trusted else {}
        super().__init__()

    def cert_verify(self, conn: Any, url: str, verify: Any, cert: Any) -> None:  # noqa: ANN401
        """Name the setting whose file is missing; what requests raises is no error of its own."""
        try:
            super().cert_verify(conn, url, verify, cert)  # type: ignore[no-untyped-call]
        except OSError:
            tls_context(verify, cert)
            raise

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs | self._tls)
        self.poolmanager.pool_classes_by_scheme = self._pools

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  of requests
        manager = super().proxy_manager_for(*args, **kwargs | self._tls)
        manager.pool_classes_by_scheme = manager.pool_classes_by_scheme | self._pools
        return manager


def _guarded_pool(guard: Guard) -> type[HTTPSConnectionPool]:
    class GuardedConnection(HTTPSConnection):
        def connect(self) -> None:
            self.server_hostname = server_name((self._tunnel_host or self.host).strip("[]"))
            if self.ssl_context is None:
                self.ssl_context = create_urllib3_context(
                    cert_reqs=resolve_cert_reqs(self.cert_reqs)
                )
                trust_what_is_named(self.ssl_context)
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


def _path(path: Any) -> Any:  # noqa: ANN401  a path, or what is none
    return str(Path(path).expanduser()) if isinstance(path, str) else path


def _from_the_connection(request: PreparedRequest) -> PreparedRequest:
    """Leave the authorization as it is: without any, requests would take the user's .netrc."""
    return request


def _judged(guard: Guard, host: str, port: int | None) -> list[str]:
    """Look a host up, and have every address of it judged; the preferred one comes first."""
    addresses = look_up(host.strip("[]"), port or 0)
    for address in addresses:
        guard.check(address)
    return addresses
