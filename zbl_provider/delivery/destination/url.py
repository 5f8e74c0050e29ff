"""The destination URL: HTTPS, whole, and read the same way by everyone who handles it."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from ipaddress import AddressValueError, IPv6Address
from typing import Final
from urllib.parse import quote

from zbl_provider.delivery.guard import parse_ipv4
from zbl_provider.exceptions import DestinationError

MAX_URL_CHARS: Final = 2048
"""What the longest-lived receivers and proxies accept; catch-hook URLs have a tenth of it."""

_FIELD: Final = "Destination URL"
_HTTPS_PORT: Final = 443
_MAX_PORT: Final = 65535
_MAX_HOST_CHARS: Final = 253
_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_PARTS: Final = re.compile(r"([^/?#]*)([^?#]*)(\?[^#]*)?(#.*)?", re.DOTALL)
_AUTHORITY: Final = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(?::([0-9]{1,5}))?")
_LABEL: Final = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC_LABEL: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
# A backslash is a slash to browsers and none to RFC 3986: the host would depend on the reader.
_FORBIDDEN: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\\]")
# Invisible characters that are pasted along, such as a zero-width space, would be part of the path.
_INVISIBLE: Final = re.compile(
    r"[\u00a0\u00ad\u1680\u180e\u2000-\u200f\u202a-\u202f\u205f-\u206f\u3000\ufeff]"
)
_WHOLE: Final = (
    "Write the whole URL into Host, its path included, and leave Schema empty. In a connection URI "
    "write it percent-encoded: zbl-webhook://https%3A%2F%2Fhost%2Fpath"
)
_PATH_SAFE: Final = "/%:@!$&'()*+,;=~"
_QUERY_SAFE: Final = _PATH_SAFE + "?"


@dataclass(frozen=True, slots=True)
class CheckedUrl:
    """
    A destination URL, checked (Contract 1.3).

    :param url: the whole URL, in its one normal form
    :param origin: scheme, host and port: the only part that may be shown (Contract 1.5)
    :param host: the host name in its ASCII form, or the address without brackets
    :param port: the TCP port
    """

    url: str = field(repr=False)
    origin: str
    host: str
    port: int


def parse_url(host: object, schema: object = None, port: object = None) -> CheckedUrl:
    """
    Read the URL of a connection, whole or in parts, as `HttpHook` reads it (Contract 1.1, 1.3).

    Airflow splits a connection URI into these parts, and decodes them: what follows the host
    becomes Schema, without its escapes. So a path in Schema is refused: the URL cannot be restored
    as it was written.

    :param host: the whole URL, or a host name with what follows it
    :param schema: empty or https
    :param port: the port, where Host has none; 0, as Airflow's Test button sends it, is none
    :raises DestinationError: if it is not an HTTPS URL to send to; the path is not shown
    """
    scheme = _text("Schema", schema)
    text = _text(_FIELD, host)
    if _FORBIDDEN.search(text):
        raise _refusal("holds a control character or a backslash", "Paste it again without")
    if _INVISIBLE.search(text):
        raise _refusal("holds an invisible character", "Paste the URL as plain text")
    if "***" in text:
        raise _refusal("holds Airflow's mask in place of a part", "Paste the whole URL again")
    rest = _without_scheme(text, scheme)
    authority, path, query = _split(rest)
    name, port_number = _host_and_port(authority, port)
    if query and not path:
        # Airflow takes it for a part of the host name, and writes it in small letters.
        raise _refusal("has a query right after the host", "Write a / before the ?")
    shown = f"[{name}]" if ":" in name else name
    origin = f"https://{shown}" if port_number == _HTTPS_PORT else f"https://{shown}:{port_number}"
    url = origin + quote(path or "/", safe=_PATH_SAFE) + quote(query, safe=_QUERY_SAFE)
    if max(len(text), len(url)) > MAX_URL_CHARS:
        raise _refusal(f"is over {MAX_URL_CHARS} characters long", "Use a shorter URL")
    return CheckedUrl(url=url, origin=origin, host=name, port=port_number)


def _text(field: str, value: object) -> str:
    if value is None or isinstance(value, str):
        return (value or "").strip(" ")
    raise DestinationError(field, "is not a text", "Put it in quotes")


def _without_scheme(text: str, schema: str) -> str:
    whole = _SCHEME.fullmatch(text)
    scheme, rest = whole.groups() if whole else (schema, text)
    if not text and scheme.lower() in {"", "https"}:
        raise _refusal("is empty", "Enter the https:// URL that receives the leads")
    if not text:
        raise _refusal(
            "is empty, and Schema is not",
            "Enter the https:// URL. A connection URI begins with zbl-webhook:// (a hyphen, and no "
            "underscore), and then has the URL percent-encoded: https%3A%2F%2Fhost%2Fpath",
        )
    if scheme.lower().startswith("zbl"):
        raise _refusal(
            "begins with the connection's type",
            "In a connection URI write zbl-webhook:// once, in small letters",
        )
    if schema and schema.lower() not in {"https", "http"}:
        raise DestinationError("Schema", "is not https", _WHOLE)
    if not scheme or (not whole and "://" in text):
        raise _refusal("has no scheme, which would mean http", "Begin it with https://")
    if scheme.lower() != "https":
        raise _refusal("is not an https URL", "Leads are sent over HTTPS only: use https://")
    if schema and schema.lower() != "https":
        raise DestinationError("Schema", "contradicts the https:// URL in Host", "Leave it empty")
    return rest


def _split(rest: str) -> tuple[str, str, str]:
    parts = _PARTS.fullmatch(rest)
    authority, path, query, fragment = parts.groups("") if parts else ("", "", "", "")
    if query == "?":
        query = ""  # nobody sends an empty one, neither requests nor Airflow's URIs
    if "@" in authority:
        raise _refusal("holds credentials", "Move them to Login and Password, or to secret_headers")
    if fragment:
        raise _refusal("has a fragment", "Remove the # and what follows it")
    return authority, path, query


def _host_and_port(authority: str, port: object) -> tuple[str, int]:
    parts = _AUTHORITY.fullmatch(authority)
    if isinstance(port, str) and re.fullmatch(r" *[0-9]{0,5} *", port):
        port = int(port.strip() or 0)  # a file of connections may give its digits as text
    if port is not None and (isinstance(port, bool) or not isinstance(port, int)):
        raise DestinationError("Port", "is not a number", "Correct the port")
    if not parts:
        raise _refusal(
            "has a host or port that cannot be read",
            "Write it as https://host:port/, and an IPv6 address in brackets (in a connection URI "
            "%5B and %5D)",
        )
    name, digits = parts.groups()
    written = int(digits) if digits else None
    if written is not None and port and written != port:
        raise _refusal("has another port than the field Port", "Leave Port empty")
    port_number = written if written is not None else port or _HTTPS_PORT
    if not 1 <= port_number <= _MAX_PORT:
        raise _refusal("has a port outside 1 to 65535", "Correct the port")
    return read_host(name), port_number


def read_host(name: str) -> str:
    """
    Bring a host to its one spelling, so that whoever looks it up and whoever connects agree.

    :param name: a name, an IPv4 address in any spelling, or an IPv6 address in brackets
    :returns: the name in ASCII, or the address without brackets
    :raises DestinationError: if it is none of them
    """
    if name.startswith("["):
        return _ipv6(name[1:-1])
    if not name.isascii():
        import idna  # here, since its tables are large and nearly every host is ASCII

        try:
            name = idna.encode(name, uts46=True).decode("ascii")
        except (idna.IDNAError, UnicodeError):
            raise _refusal("has a host that is not a valid host name", "Correct the host") from None
    name = name.lower().removesuffix(".")
    if not name:
        raise _refusal("has no host", "Write it as https://host/")
    labels = name.split(".")
    if _NUMERIC_LABEL.fullmatch(labels[-1]):
        # Written out, so that no reader further on can take "0x7f.1" for a name.
        address = parse_ipv4(name)
        if address is None:
            raise _refusal("has a host that is not a valid IP address", "Correct the host")
        return str(address)
    if len(name) > _MAX_HOST_CHARS or not all(map(_LABEL.fullmatch, labels)):
        raise _refusal("has a host that is not a valid host name", "Correct the host")
    return name


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except AddressValueError:
        address = None
    if address is None or address.scope_id:
        raise _refusal("has a host that is not a valid IP address", "Correct the host")
    if address.ipv4_mapped:
        # Python 3.13 writes it with dots; URLs have it in hexadecimal, whoever reads them.
        high, low = divmod(int(address.ipv4_mapped), 1 << 16)
        return f"::ffff:{high:x}:{low:x}"
    return address.compressed


def _refusal(problem: str, remedy: str) -> DestinationError:
    return DestinationError(_FIELD, problem, remedy)
