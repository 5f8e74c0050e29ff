"""The values of a connection's Extra, as its form, its JSON and its URI spell them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from zbl_provider.delivery.destination.url import read_host
from zbl_provider.delivery.exchange import DEADLINE_SECONDS
from zbl_provider.exceptions import ConfigurationError, DestinationError
from zbl_provider.leads.filters import Filters

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zbl_provider.leads.body import Body

RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})
DEFAULT_CONCURRENCY: Final = 16
MAX_CONCURRENCY: Final = 1000
MIN_RATE: Final = 0.00001
MAX_RATE: Final = 100_000
_YES: Final = frozenset({"true", "yes", "on", "1"})
_NO: Final = frozenset({"false", "no", "off", "0"})
_CERTIFICATE_AND_KEY: Final = 2
_PROXIED: Final = re.compile(r"(https?|all)(://|$)")


def given(extra: Mapping[str, object], key: str) -> object:
    """
    Look a value up as the form saves it: what was left untouched was not given.

    :returns: the value, or None for null, and an empty text, list or object
    """
    value = extra.get(key)
    if isinstance(value, str):
        return value.strip() or None
    if isinstance(value, list | tuple | dict) and not value:
        return None
    return value


def boolean(extra: Mapping[str, object], key: str, *, default: bool) -> bool:
    """Read a true or false, or its text."""
    value = given(extra, key)
    if value is None:
        return default
    if isinstance(value, bool):
        return value
    text = str(value).lower()
    if text in _YES | _NO:
        return text in _YES
    raise ConfigurationError(key, "is neither true nor false", "Set it to true or false")


def concurrency(extra: Mapping[str, object]) -> int:
    """Read `max_concurrency` (Contract 1.2)."""
    key = "max_concurrency"
    limit = _number(extra, key)
    if limit is None:
        return DEFAULT_CONCURRENCY
    if not limit.is_integer() or not 1 <= limit <= MAX_CONCURRENCY:
        raise ConfigurationError(
            key, "is out of range", f"Give a whole number, 1 to {MAX_CONCURRENCY}"
        )
    return int(limit)


def rate(extra: Mapping[str, object]) -> float | None:
    """Read `max_rate`, requests per second (Contract 1.2)."""
    limit = _number(extra, "max_rate")
    if limit is not None and limit <= 0:
        raise ConfigurationError("max_rate", "is not above 0", "Leave it empty for no limit")
    if limit is not None and not MIN_RATE <= limit <= MAX_RATE:
        raise ConfigurationError(
            "max_rate",
            "is out of range",
            f"Give {MIN_RATE:f} (one request a day) to {MAX_RATE}, or leave it empty for no limit",
        )
    return limit


def statuses(extra: Mapping[str, object]) -> frozenset[int]:
    """Read `retry_statuses`; the form's list gives texts (Contract 1.2 and 3.3)."""
    value = given(extra, "retry_statuses")
    words = re.split(r"[,\s]+", value) if isinstance(value, str) else value
    if words is None:
        return frozenset()
    if isinstance(words, int) and not isinstance(words, bool):
        words = [words]
    names = {str(status): status for status in RETRYABLE_STATUSES}
    if not isinstance(words, list | tuple) or any(str(word).strip() not in names for word in words):
        raise ConfigurationError(
            "retry_statuses", "has a status that cannot be retried", "Use 408, 425 and 429 only"
        )
    return frozenset(names[str(word).strip()] for word in words)


def verification(extra: Mapping[str, object]) -> bool | str:
    """Read `verify`, or `verify_ssl`: true, false, or the path of a private CA (Contract 1.1)."""
    key, value = _either(extra, "verify", "verify_ssl")
    if isinstance(value, str) and value.lower() not in _YES | _NO:
        return value
    return boolean(extra, key, default=True)


def certificate(extra: Mapping[str, object]) -> str | tuple[str, str] | None:
    """Read `cert`: one PEM file with the client's certificate and key, or the two files."""
    value = given(extra, "cert")
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, list | tuple) and len(value) == _CERTIFICATE_AND_KEY:
        certificate_file, key_file = value
        if isinstance(certificate_file, str) and isinstance(key_file, str) and all(value):
            return certificate_file, key_file
    raise ConfigurationError(
        "cert", "is neither a path nor a pair of paths", "Give [certificate, key]"
    )


def proxy(extra: Mapping[str, object], host: str) -> str | None:
    """
    Read `proxies`, or `proxy`: a URL, or requests' object of them (Contract 2.5).

    :param host: the destination's, which such an object may name
    """
    key, value = _either(extra, "proxies", "proxy")
    if isinstance(value, dict):
        by_scheme = {scheme: url for scheme in value if (url := given(value, scheme)) is not None}
        if not all(map(_PROXIED.match, by_scheme)):
            raise ConfigurationError(
                key, "has a key that is not a scheme", "Give one URL, as http://host:port"
            )
        # Chosen as requests does; an object that says nothing of HTTPS would go unused.
        schemes = (f"https://{host}", "https", f"all://{host}", "all")
        value = next((by_scheme[scheme] for scheme in schemes if scheme in by_scheme), None)
        if by_scheme and value is None:
            raise ConfigurationError(
                key, "has no proxy for https", 'Give it as {"https": "http://host:port"}'
            )
    if value is None:
        return None
    if not isinstance(value, str):
        raise ConfigurationError(key, "is not a valid URL", "Give it as http://host:port")
    return proxy_url(value, key)


def proxy_url(text: str, field: str) -> str:
    """
    Check the URL of an HTTP proxy, from the connection or the environment.

    :param text: the URL; its scheme may be missing
    :param field: where it comes from, for the message
    :returns: scheme, credentials, host and port alone, the host in its one spelling: the guard
        must judge what the HTTP client will connect to (Contract 7.1)
    """
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        host = read_host(f"[{parts.hostname}]" if "[" in parts.netloc else parts.hostname or "")
        beside = parts.path.strip("/") or parts.query or parts.fragment  # what would go unused
        usable = parts.scheme == "http" and parts.port != 0 and not beside
    except (ValueError, DestinationError):
        usable = False
    if not usable or re.search(r"[\x00-\x20\x7f]", url):
        # Through it goes TLS from end to end; TLS to the proxy itself would add little.
        raise ConfigurationError(
            field, "is not the URL of an HTTP proxy", "Give it as http://host:port"
        )
    credentials, at, _ = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{credentials}{at}{f'[{host}]' if ':' in host else host}{port}"


def text(extra: Mapping[str, object], key: str) -> str | None:
    """Read a text."""
    value = given(extra, key)
    if value is None or isinstance(value, str):
        return value
    raise ConfigurationError(key, "is not a text", "Put it in quotes")


def filters(extra: Mapping[str, object]) -> Filters:
    """Read `min_score`, `lists` and `field_filters` (Contract 5.1)."""
    lists = given(extra, "lists")
    return Filters.parse(
        min_score=given(extra, "min_score"),
        lists=[lists] if type(lists) is int else lists,  # an id, in a connection URI
        field_filters=given(extra, "field_filters"),
    )


def body(extra: Mapping[str, object]) -> Body | None:
    """Read `body`; without it nothing of Jinja is imported (Contract 2.7)."""
    document = given(extra, "body")
    if document is None:
        return None
    from zbl_provider.leads.body import Body

    return Body(document)


def remarks(extra: Mapping[str, object]) -> Iterator[str]:
    """
    Judge the keys of HTTP connections that ask for what this provider does in one way only.

    A key is refused if leads would not be sent as its writer meant. If it only changes how an
    answer is waited for, or read, it gets a remark.

    :raises ConfigurationError: naming the key
    """
    if not boolean(extra, "check_response", default=True):
        raise ConfigurationError(
            "check_response", "is false, but here only 2xx counts as delivered", "Remove it"
        )
    if boolean(extra, "srv_lookup", default=False):
        raise ConfigurationError(
            "srv_lookup", "is not supported", "Remove it, and enter the host itself"
        )
    if given(extra, "timeout") is not None:
        yield f"timeout is not used: an attempt has {DEADLINE_SECONDS:.0f} s in all"
    if boolean(extra, "allow_redirects", default=False):
        yield "allow_redirects is not used: a redirect is an error, and is not followed"
    if given(extra, "max_redirects") is not None:
        yield "max_redirects is not used: redirects are not followed"
    if boolean(extra, "stream", default=False):
        yield "stream is not used: only the start of an answer is kept"


def _either(extra: Mapping[str, object], key: str, other: str) -> tuple[str, object]:
    """Read the value that has two names, as `HttpHook` has them; they may not differ."""
    value, other_value = given(extra, key), given(extra, other)
    if value is None and other_value is not None:
        return other, other_value
    if other_value is not None and value != other_value:
        raise ConfigurationError(
            key, f"and {other} are both given, with different values", f"Remove {other}"
        )
    return key, value


def _number(extra: Mapping[str, object], key: str) -> float | None:
    value = given(extra, key)
    if value is None:
        return None
    try:
        result = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        result = math.nan
    if isinstance(value, bool) or not math.isfinite(result):
        raise ConfigurationError(key, "is not a number", "Give a number, or leave it empty")
    return result
