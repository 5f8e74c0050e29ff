"""A `requests` session that keeps the rules of the wire as far as requests can (Contract 1.1)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from requests import Response, Session
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPSConnection
from urllib3.connectionpool import HTTPSConnectionPool

from zbl_provider.delivery.client import static_headers

if TYPE_CHECKING:
    import socket

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
        self.trust_env = destination.trust_env
        self.verify = destination.verify
        self.cert = destination.cert
        if destination.proxy:
            self.proxies = {"https": destination.proxy}

    def request(self, *args: Any, **kwargs: Any) -> Response:
        """Send as `requests.Session.request` does, within the session's own bounds."""
        kwargs.setdefault("timeout", self._timeout)
        kwargs.setdefault("verify", self.verify)  # else an environment's CA could take its place
        kwargs["allow_redirects"] = False
        return super().request(*args, **kwargs)


class _GuardedAdapter(HTTPAdapter):
    """Refuses addresses once they are connected to, before anything is sent."""

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
        def _new_conn(self) -> socket.socket:
            connected = super()._new_conn()
            try:
                guard.check(connected.getpeername()[0])
            except BaseException:
                connected.close()
                raise
            return connected

    class GuardedPool(HTTPSConnectionPool):
        ConnectionCls = GuardedConnection

    return GuardedPool
