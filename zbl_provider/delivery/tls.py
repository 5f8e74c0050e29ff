"""How a destination is trusted, and what it is shown of the sender (Contract 2.5)."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Final

import certifi

from zbl_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from zbl_provider.delivery.destination import Destination

_CERTIFICATE: Final = re.compile(
    rb"-----BEGIN CERTIFICATE-----.*?-----END CERTIFICATE-----", re.DOTALL
)


def tls_context(destination: Destination) -> ssl.SSLContext:
    """
    Read the connection's certificate files, once.

    :param destination: with its `verify` and `cert`
    :returns: a context that verifies certificates unless the connection says otherwise
    :raises ConfigurationError: if a file cannot be used
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    _trust(context, destination.verify)
    if destination.cert is not None:
        _identify(context, destination.cert)
    return context


def _trust(context: ssl.SSLContext, verify: bool | str) -> None:
    """Trust a private CA alone, as requests does; else the system's CAs and certifi's."""
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif verify is True:
        context.load_default_certs()
        context.load_verify_locations(certifi.where())
    else:
        roots = _CERTIFICATE.findall(_read(verify, "verify"))
        try:
            for root in roots:
                context.load_verify_locations(cadata=root.decode("ascii"))
        except (ssl.SSLError, ValueError):
            roots = []
        if not roots:
            raise _unusable("verify", "holds no certificate", "Name a PEM file with the CA")


def _identify(context: ssl.SSLContext, cert: str | tuple[str, str]) -> None:
    certificate, key = (cert, None) if isinstance(cert, str) else cert
    _read(certificate, "cert")
    try:
        # An empty password, so that nobody is asked for one at a terminal.
        context.load_cert_chain(_path(certificate), _path(key) if key else None, password="")
    except (ssl.SSLError, OSError, RuntimeError, ValueError):
        raise _unusable(
            "cert", "holds no certificate with its key", "Name PEM files; the key unencrypted"
        ) from None


def _read(name: str, field: str) -> bytes:
    """Read a file, or all files of a directory; nothing where there is none."""
    try:
        path = _path(name)
        files = sorted(path.iterdir()) if path.is_dir() else [path]
        return b"\n".join(file.read_bytes() for file in files if file.is_file())
    except (OSError, RuntimeError):  # the latter for the home of a user that there is not
        raise _unusable(field, "cannot be read", "Check the path and its permissions") from None


def _path(name: str) -> Path:
    return Path(name).expanduser()


def _unusable(field: str, problem: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(field=field, problem=f"the file it names {problem}", remedy=remedy)
