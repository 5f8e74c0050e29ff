"""How a server is trusted, and what it is shown of the sender (Contract 2.5)."""

from __future__ import annotations

import re
import ssl
from ipaddress import IPv6Address
from pathlib import Path
from typing import Final

import certifi

from zbl_provider.delivery.http.limits import ShortageError, shortage
from zbl_provider.exceptions import ConfigurationError

_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL
)
# The largest bundles of public CAs have a quarter of a megabyte.
_MAX_BYTES: Final = 8 * 2**20


def tls_context(verify: bool | str, cert: str | tuple[str, str] | None) -> ssl.SSLContext:
    """
    Read the certificate files of a connection, once.

    :param verify: whether certificates are verified, or the path of the CAs to trust, a PEM file or
        a directory of them, in place of the system's
    :param cert: a PEM file with a client certificate and its key, or the two files
    :returns: a context that verifies certificates unless `verify` says otherwise
    :raises ConfigurationError: if a file cannot be used
    :raises ShortageError: if this machine may open no further file
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    _trust(context, verify)
    # A server may ask for a certificate only when it has seen the path (Apache in a <Location>,
    # IIS): after the handshake in TLS 1.3, by a second one in TLS 1.2. Where it is optional, the
    # server takes "I have none" for an answer, and refuses whom it cannot ask.
    context.post_handshake_auth = True
    if cert is not None:
        certificate, key = (cert, None) if isinstance(cert, str) else cert
        for name in filter(None, (certificate, key)):
            _read(name, "cert")
        try:
            # An empty password, so that nobody is asked for one at a terminal.
            context.load_cert_chain(
                Path(certificate).expanduser(), Path(key).expanduser() if key else None, password=""
            )
        except (ssl.SSLError, OSError, RuntimeError, ValueError) as problem:
            _blame_this_machine(problem)
            raise ConfigurationError(
                "cert",
                "the file it names holds no certificate with its key",
                "Name PEM files; the key must not be encrypted",
            ) from None
    return context


def server_name(host: str) -> str:
    """
    Return the name that a server's certificate must hold.

    :param host: the server's name or address
    :returns: the same; for an IPv4 address that is written as an IPv6 one, the IPv4 address:
        certificates are issued for that
    """
    mapped = IPv6Address(host).ipv4_mapped if ":" in host and "%" not in host else None
    return str(mapped) if mapped else host


def trust_what_is_named(context: ssl.SSLContext) -> None:
    """
    Have a certificate that is named be trusted, whoever signed it.

    A company may give out the CA that issues its servers' certificates without the one above it, or
    a server's own certificate. curl and Python 3.13 take them as they are.
    """
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN


def _trust(context: ssl.SSLContext, verify: bool | str) -> None:
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif verify is True:
        context.load_default_certs()
        try:
            context.load_verify_locations(certifi.where())
        except OSError as problem:
            _blame_this_machine(problem)
            raise
    else:
        roots = _CERTIFICATE.findall(_read(verify, "verify"))
        try:
            for root in roots:
                context.load_verify_locations(cadata=root.decode("ascii"))
        except (ssl.SSLError, ValueError):
            roots = []
        trust_what_is_named(context)
        if not roots:
            raise ConfigurationError(
                "verify", "the file it names holds no certificate", "Name a PEM file with the CA"
            )


def _read(name: str, field: str) -> bytes:
    """Read a file, or all files of a directory."""
    content = b""
    try:
        path = Path(name).expanduser()
        # Devices and pipes have no end. A path that names nothing raises on opening.
        alone = [path] if path.is_file() or not path.exists() else []
        for file in sorted(filter(Path.is_file, path.iterdir())) if path.is_dir() else alone:
            with file.open("rb") as opened:
                content += opened.read(_MAX_BYTES + 1 - len(content)) + b"\n"
            if len(content) > _MAX_BYTES:
                raise ConfigurationError(
                    field,
                    "the file it names is larger than 8 MiB",
                    "Name a PEM file with certificates alone",
                )
    except (OSError, RuntimeError, ValueError) as problem:
        # RuntimeError: the home of an unknown user. ValueError: a NUL, or what no path can hold.
        _blame_this_machine(problem)
        raise ConfigurationError(
            field, "the file it names cannot be read", "Check the path and its permissions"
        ) from None
    return content


def _blame_this_machine(problem: BaseException) -> None:
    """Raise what may pass by itself, rather than call a good file unusable (Contract 2.6)."""
    if limit := shortage(problem):
        raise ShortageError(limit) from None
