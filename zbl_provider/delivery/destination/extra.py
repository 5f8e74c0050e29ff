"""The values of a connection's Extra, as its form, its JSON and its URI spell them."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from zbl_provider.delivery.destination.url import read_host
from zbl_provider.delivery.exchange import DEADLINE_SECONDS
from zbl_provider.exceptions import ConfigurationError, DestinationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from zbl_provider.leads.body import Body

RETRYABLE_STATUSES: Final = frozenset({408, 425, 429})
DEFAULT_CONCURRENCY: Final = 16
MAX_CONCURRENCY: Final = 1000
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
    raise _refusal(key, "is neither true nor false", "Set it to true or false")


def concurrency(extra: Mapping[str, object]) -> int:
    """Read `max_concurrency` (Contract 1.2)."""
    number = _number(extra, "max_concurrency")
    if number is None:
        return DEFAULT_CONCURRENCY
    if not number.is_integer() or not 1 <= number <= MAX_CONCURRENCY:
        raise _refusal(
            "max_concurrency", "is out of range", f"Give a whole number, 1 to {MAX_CONCURRENCY}"
        )
    return int(number)


def rate(extra: Mapping[str, object]) -> float | None:
    """Read `max_rate`, requests per second (Contract 1.2)."""
    number = _number(extra, "max_rate")
    if number is not None and number <= 0:
        raise _refusal("max_rate", "is not above 0", "Leave it empty for no limit")
    return number


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
        raise _refusal("retry_statuses", "names another status", "Only 408, 425 and 429 can be")
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
    raise _refusal("cert", "is neither a path nor a pair of paths", "Give [certificate, key]")


def proxy(extra: Mapping[str, object], host: str) -> str | None:
    """
    Read `proxies`, or `proxy`: a URL, or requests' object of them (Contract 2.5).

    :param host: the destination's, which such an object may name
    """
    key, value = _either(extra, "proxies", "proxy")
    if isinstance(value, dict):
        value = _proxy_of(value, key, host)
    if value is None:
        return None
    if not isinstance(value, str):
        raise _refusal(key, "is not a valid URL", "Give it as http://host:port")
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
        usable = parts.scheme == "http" and parts.port != 0
    except (ValueError, DestinationError):
        usable = False
    if not usable or re.search(r"[\x00-\x20\x7f]", url):
        # Through it goes TLS from end to end; TLS to the proxy itself would add little.
        raise _refusal(field, "is not the URL of an HTTP proxy", "Give it as http://host:port")
    credentials, at, _ = parts.netloc.rpartition("@")
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{credentials}{at}{f'[{host}]' if ':' in host else host}{port}"


def text(extra: Mapping[str, object], key: str) -> str | None:
    """Read a text."""
    value = given(extra, key)
    if value is None or isinstance(value, str):
        return value
    raise _refusal(key, "is not a text", "Put it in quotes")


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

    Where a lead would fare other than its writer meant, the key is refused. Where only the waiting
    for an answer, or its reading, differs, it is remarked upon.

    :raises ConfigurationError: naming the key
    """
    if not boolean(extra, "check_response", default=True):
        raise _refusal("check_response", "is false, and only 2xx is an arrival here", "Remove it")
    if boolean(extra, "srv_lookup", default=False):
        raise _refusal("srv_lookup", "is not supported", "Remove it, and enter the host itself")
    if given(extra, "timeout") is not None:
        yield f"timeout is not used: an attempt has {DEADLINE_SECONDS:.0f} s for all of it"
    if boolean(extra, "allow_redirects", default=False):
        yield "allow_redirects is not used: a redirect is an error, and is not followed"
    if given(extra, "max_redirects") is not None:
        yield "max_redirects is not used: redirects are not followed"
    if boolean(extra, "stream", default=False):
        yield "stream is not used: of an answer the beginning is kept"


def _either(extra: Mapping[str, object], *names: str) -> tuple[str, object]:
    """Find the one that is given of two names for one thing, as `HttpHook` has them."""
    found = [(name, value) for name in names if (value := given(extra, name)) is not None]
    if len(found) > 1 and found[0][1] != found[1][1]:
        raise _refusal(names[0], f"and {names[1]} are both given, and differ", f"Remove {names[1]}")
    return found[0] if found else (names[0], None)


def _proxy_of(proxies: Mapping[str, object], key: str, host: str) -> object:
    """Choose as requests does; an object that says nothing of HTTPS would go unused."""
    given_ones = {name: found for name in proxies if (found := given(proxies, name)) is not None}
    if not all(map(_PROXIED.match, given_ones)):
        raise _refusal(key, "has a key that is not a scheme", "Give one URL, as http://host:port")
    names = (f"https://{host}", "https", f"all://{host}", "all")
    chosen = next((given_ones[name] for name in names if name in given_ones), None)
    if given_ones and chosen is None:
        raise _refusal(key, "has none for https", 'Give it as {"https": "http://host:port"}')
    return chosen


def _number(extra: Mapping[str, object], key: str) -> float | None:
    value = given(extra, key)
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, str | int | float) else math.nan
    except (ValueError, OverflowError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise _refusal(key, "is not a number", "Give a number, or leave it empty")
    return number


def _refusal(field: str, problem: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(field=field, problem=problem, remedy=remedy)
