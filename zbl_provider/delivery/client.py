"""The HTTP client of one destination, pinned to one address."""

from __future__ import annotations

import atexit
import re
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit, urlunsplit

from pyreqwest.client import ClientBuilder
from pyreqwest.http import Url
from pyreqwest.proxy import ProxyBuilder

from zbl_provider import __version__
from zbl_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from pyreqwest.client import Client

    from zbl_provider.delivery.destination import Destination

_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL
)
# Receivers drop idle connections after five seconds and more. Dropping them first spares a lead
# the race in which both happen at once.
_IDLE_SECONDS: Final = 4
_LAST_TOUCHES_SECONDS: Final = 0.1

# The client's own thread still lets go of a failed request when its caller has long been woken. An
# interpreter that exits in that moment aborts, and with it the exit code of a script that is done.
atexit.register(time.sleep, _LAST_TOUCHES_SECONDS)


class ClientFactory:
    """
    Builds clients for a destination; its files are read once, here.

    :param destination: where to, with its certificates and headers
    :param proxy: URL of the proxy to go through, or None
    :param deadline: seconds that one request may take in all
    :raises ConfigurationError: if a certificate file cannot be used
    """

    __slots__ = ("_cert", "_deadline", "_destination", "_headers", "_proxy", "_roots")

    def __init__(self, destination: Destination, proxy: str | None, deadline: float) -> None:
        self._destination = destination
        self._proxy = proxy
        if proxy:
            _proxy_builder(proxy)  # what cannot work is said before anything is sent
        self._deadline = timedelta(seconds=deadline)
        self._headers = static_headers(destination)
        self._roots = _roots(destination.verify)
        self._cert = _identity(destination.cert)

    def build(self, host: str, address: str) -> Client:
        """
        Build a client that reaches this host at this address and nowhere else (Contract 7.1).

        It verifies certificates, follows no redirect, ignores the environment and unpacks no body
        (Contract 2.5 and 7.3).
        """
        builder = (
            ClientBuilder()
            .https_only(True)
            .no_proxy()
            .follow_redirects(False)
            .referer(False)
            .gzip(False)
            .brotli(False)
            .zstd(False)
            .deflate(False)
            .timeout(self._deadline)
            .pool_idle_timeout(timedelta(seconds=_IDLE_SECONDS))
            .default_headers(self._headers)
            .resolve(host, address.partition("%")[0], 0)
        )
        return self._with_tls(self._with_proxy(builder)).build()

    def _with_proxy(self, builder: ClientBuilder) -> ClientBuilder:
        return builder.proxy(_proxy_builder(self._proxy)) if self._proxy else builder

    def _with_tls(self, builder: ClientBuilder) -> ClientBuilder:
        if self._destination.verify is False:
            builder = builder.danger_accept_invalid_certs(True)
        for root in self._roots:
            builder = builder.add_root_certificate_pem(root)
        return builder.identity_pem(self._cert) if self._cert else builder


def static_headers(destination: Destination) -> list[tuple[str, str]]:
    """Give the headers that all requests to a destination share (Contract 1.4 and 2.1)."""
    own = {name.lower() for name, _ in destination.headers}
    ours = [("Content-Type", "application/json"), ("User-Agent", f"zbl_provider/{__version__}")]
    return [*(pair for pair in ours if pair[0].lower() not in own), *destination.headers]


def _proxy_builder(proxy: str) -> ProxyBuilder:
    parts = urlsplit(proxy)
    bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], "", "", ""))
    if host_of(bare) != parts.hostname:
        raise ConfigurationError(
            field="proxy", problem="has a host that cannot be read", remedy="Check its host"
        )
    builder = ProxyBuilder.all(bare)
    if parts.username is None:
        return builder
    return builder.basic_auth(unquote(parts.username), unquote(parts.password or ""))


def host_of(url: str) -> str | None:
    """Give the host as the HTTP client reads it, which must be as the guard does (7.1)."""
    try:
        return (Url(url).host_str or "").strip("[]")
    except ValueError:
        return None


def _roots(verify: bool | str) -> list[bytes]:
    """Read the private CA: a bundle of certificates, or a directory of such files."""
    if isinstance(verify, bool):
        return []
    roots = _CERTIFICATE.findall(_read(verify, "verify"))
    try:
        for root in roots:
            ClientBuilder().add_root_certificate_pem(root).build()
    except ValueError:
        roots = []
    if not roots:
        raise _unusable("verify", "holds no certificate", "Name a PEM file with the CA")
    return roots


def _identity(cert: str | tuple[str, str] | None) -> bytes | None:
    if cert is None:
        return None
    files = (cert,) if isinstance(cert, str) else cert
    identity = b"\n".join(_read(file, "cert") for file in files)
    try:
        ClientBuilder().identity_pem(identity).build()
    except ValueError:
        raise _unusable(
            "cert", "holds no certificate with its key", "Name PEM files; the key unencrypted"
        ) from None
    return identity


def _read(name: str, field: str) -> bytes:
    """Read a file, or all files of a directory; nothing where there is none."""
    try:
        path = Path(name).expanduser()
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return b"\n".join(file.read_bytes() for file in files if file.is_file())
    except (OSError, RuntimeError):  # the latter for the home of a user that there is not
        raise _unusable(field, "cannot be read", "Check the path and its permissions") from None


def _unusable(field: str, problem: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(field=field, problem=f"the file it names {problem}", remedy=remedy)
