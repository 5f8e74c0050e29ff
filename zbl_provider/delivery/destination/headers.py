"""The integration's own headers: what RFC 9110 allows, short of those the sender owns."""

from __future__ import annotations

import json
import re
from base64 import b64encode
from collections.abc import Mapping
from typing import Final

from zbl_provider.exceptions import ConfigurationError, HeaderError

_TOKEN: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
# Field values by RFC 9110, 5.5: everything in Latin-1 but the control characters, tab apart.
_FORBIDDEN: Final = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_SHOWN_CHARS: Final = 40
# Idempotency-Key is the sender's by 2.3: one value for all leads would make a receiver drop them.
_OWNED: Final = frozenset(
    {
        "host",
        "content-length",
        "transfer-encoding",
        "connection",
        "content-type",
        "idempotency-key",
    }
)
_OWNED_PREFIX: Final = "webhook-"

Headers = tuple[tuple[str, str], ...]


def parse_headers(secret_headers: object, login: object = None, password: object = None) -> Headers:
    """
    Read the headers that a connection adds to each request (Contract 1.2 and 1.4).

    :param secret_headers: header names to values, as an object or as its JSON text
    :param login: with the password, the Basic authorization that `HttpHook` would send
    :param password: may be absent
    :raises HeaderError: if a header is illegal, twice there, or the sender's; no value is shown
    :raises ConfigurationError: if login and password cannot be used
    """
    headers = [read_header(name, value) for name, value in _pairs(secret_headers)]
    if credentials := read_credentials(login, password):
        if ":" in credentials[0]:
            raise ConfigurationError(
                "Login",
                "has a colon, where Basic authentication begins the password",
                "Move what follows it to Password, or use secret_headers",
            )
        pair = ":".join(credentials)
        try:
            octets = pair.encode("latin-1")  # as requests, and so HttpHook, encodes it
        except UnicodeEncodeError:
            octets = pair.encode("utf-8", "surrogatepass")
        headers.append(("Authorization", "Basic " + b64encode(octets).decode("ascii")))
    return without_duplicates(tuple(headers))


def read_credentials(login: object, password: object) -> tuple[str, str] | None:
    """
    Read Login and Password (Contract 1.1 and 1.2).

    :returns: both, the password perhaps empty; None where neither is given
    :raises ConfigurationError: if one is no text or Airflow's mask, or a password has no login and
        so would not be used
    """
    for field, value in (("Login", login), ("Password", password)):
        if value is not None and not isinstance(value, str):
            raise ConfigurationError(field, "is not a text", "Put it in quotes")
        if value == "***":
            raise ConfigurationError(
                field, "is Airflow's mask in place of a value", "Enter it again"
            )
    if password and not login:
        raise ConfigurationError(
            field="Password",
            problem="is given without Login, and would not be used",
            remedy="Enter Login, too, or put the Authorization header into secret_headers",
        )
    return (str(login), str(password or "")) if login else None


def without_duplicates(headers: Headers) -> Headers:
    """
    Return the headers as they are.

    :raises HeaderError: if a name is there twice, in whatever case (Contract 1.4)
    """
    seen: set[str] = set()
    for name, _ in headers:
        if name.lower() in seen:
            raise HeaderError(
                f"header {name}", "is given twice", "Keep one of them; Login sets Authorization"
            )
        seen.add(name.lower())
    return headers


def _pairs(secret_headers: object) -> list[tuple[object, object]]:
    """Keep the names that JSON gives twice, which a dict would hide."""
    given = secret_headers
    if isinstance(given, str):
        try:
            given = json.loads(given, object_pairs_hook=_Pairs) if given.strip() else None
        except ValueError:
            given = False
    if given is None:
        return []
    if isinstance(given, _Pairs):
        return list(given)
    if not isinstance(given, Mapping):
        raise HeaderError("header secret_headers", "is not an object", 'Write {"Name": "value"}')
    return list(given.items())


class _Pairs(list[tuple[object, object]]):
    """A JSON object, member by member."""


def read_header(name: object, value: object) -> tuple[str, str]:
    """
    Read one header (Contract 1.4).

    :raises HeaderError: if it is illegal, or the sender's own; no value is shown
    """
    text = name if isinstance(name, str) else ""
    token = _TOKEN.match(text)
    # No more is shown than could be a name: whole header lines are pasted there, too.
    start = token.group()[:_SHOWN_CHARS] if token else ""
    field = f"header {start}{'' if start == text else '…'}"
    if not isinstance(name, str) or not _TOKEN.fullmatch(name):
        raise HeaderError(field, "is not a valid header name", "Use letters, digits and hyphens")
    if name.lower() in _OWNED or name.lower().startswith(_OWNED_PREFIX):
        raise HeaderError(field, "is set by the sender itself", "Remove it")
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise HeaderError(field, "has a value that is not a text", "Put it in quotes")
    if _FORBIDDEN.search(str(value)):
        raise HeaderError(
            field,
            "holds a line break, another control character, or one outside Latin-1",
            "Paste the value again without it",
        )
    return name, str(value).strip(" \t")
