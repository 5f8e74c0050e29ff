"""A connection's Extra: one JSON object, each of whose keys has a meaning here (Contract 1.2)."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from typing import Any, Final

from zbl_provider.exceptions import ConfigurationError, HeaderError, SigningSecretError

KEYS: Final = frozenset(
    {
        "secret_headers",
        "active",
        "min_score",
        "lists",
        "field_filters",
        "signing_secret",
        "retry_statuses",
        "max_concurrency",
        "max_rate",
        "keep_alive",
        "body",
        "verify",
        "verify_ssl",
        "cert",
        "proxy",
        "proxies",
        "trust_env",
    }
)
"""What is read, and decides where leads go, which, and how."""

HTTP_HOOK_KEYS: Final = frozenset(
    {"timeout", "stream", "allow_redirects", "max_redirects", "check_response", "srv_lookup"}
)
"""What Airflow's HTTP connections may hold besides, and :mod:`extra` judges."""

_MASK: Final = "***"
_NOTE: Final = "_note"
_OLD_PREFIX: Final = "extra__zbl_webhook__"
_HEADERS: Final = frozenset({"authorization", "cookie", "accept", "user-agent", "content-type"})
# Digits are left out: where a name could be a token, it is not shown.
_SHOWABLE: Final = re.compile(r"[A-Za-z][A-Za-z_. -]{0,39}")
_NO_LETTER: Final = re.compile(r"[^a-z]")
_KINDS: Final = {list: "a list", str: "a text", bool: "true or false", type(None): "null"}
_MASKED: Final[Mapping[str, type[ConfigurationError]]] = {
    "secret_headers": HeaderError,
    "signing_secret": SigningSecretError,
}
_ALMOST_JSON: Final = re.compile(r"""\s*(\{|\[\s*(["'\[{\]]|-?\d))""")
_OBJECT: Final = 'Write a JSON object, such as {"min_score": 70}, or leave it empty'
_GENERIC: Final = (
    "Remove it. A header goes under secret_headers; a query belongs to the URL in Host (in a "
    "connection URI write its ? as %3F, its & as %26); a note of your own goes under _note"
)


def read_extra(extra: str | Mapping[str, object] | None) -> dict[str, Any]:
    """
    Read Extra, and leave no key unread (Contract 1.2). What is broken never reads as empty.

    :param extra: the connection's text, or the object that it holds
    :returns: the keys of this provider with their values
    :raises ConfigurationError: naming Extra or the key; its content is not shown
    """
    given = extra if isinstance(extra, Mapping) else _parse(extra)
    for key, value in given.items():
        if key not in KEYS | HTTP_HOOK_KEYS:
            _check_unknown(str(key), value)
    read = {
        key: _as_json(key, value) for key, value in given.items() if key in KEYS | HTTP_HOOK_KEYS
    }
    for key, value in read.items():
        error = _MASKED.get(key, ConfigurationError)
        texts = list(_texts(value))
        # Of a secret it may hide a part, such as the token behind "Bearer".
        words = [word for text in texts for word in text.split()] if key in _MASKED else texts
        if _MASK in words:  # leads must not go out without what it hides, unnoticed
            raise error(key, "holds Airflow's mask in place of a value", "Enter it again")
    return read


def _parse(text: object) -> Mapping[str, object]:
    if text is None or (isinstance(text, str) and not text.strip()):
        return {}
    parsed = text
    if isinstance(text, str):
        try:
            parsed = _loads(text, "Extra")
        except (ValueError, RecursionError):
            raise ConfigurationError("Extra", "is not valid JSON", _OBJECT) from None
        if isinstance(parsed, dict):
            return parsed
        if isinstance(parsed, str) and parsed.lstrip().startswith("{"):
            raise ConfigurationError(
                "Extra",
                "is JSON inside a JSON text",
                "Remove the outer quotes and the backslashes",
            )
    other = "a number" if isinstance(parsed, int | float) else "something"
    kind = _KINDS.get(type(parsed), other)
    raise ConfigurationError("Extra", f"is {kind}, not a JSON object", _OBJECT)


def _as_json(key: str, value: object) -> object:
    """
    Read a text that is JSON as that JSON.

    Airflow's server does so with the query of a connection URI, while its workers keep the texts:
    what a key means must not depend on who reads it.
    """
    if not isinstance(value, str):
        return value
    try:
        parsed = _loads(value, key)
    except (ValueError, RecursionError):
        if _ALMOST_JSON.match(value):
            raise ConfigurationError(key, "is not valid JSON", "Correct it") from None
        return value
    if parsed is None:
        raise ConfigurationError(key, 'is the text "null"', "Leave the key out")
    return parsed


def _loads(text: str, field: str) -> object:
    """Read JSON as its standard has it: each key once, and no NaN."""

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        document: dict[str, object] = {}
        for key, value in pairs:
            if key in document:
                raise ConfigurationError(
                    field, f"has the key {_shown(key)} twice", "Keep one of them"
                )
            document[key] = value
        return document

    def refuse(constant: str) -> object:
        raise ValueError(constant)

    return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value.strip()
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)


def _check_unknown(name: str, value: object) -> None:
    """
    Refuse a key that has no meaning here: leads would not go out as its writer meant.

    It may be a misspelt filter, a header as `HttpHook` has them, or the query of the URL, which
    Airflow takes from a connection URI and puts here. What Airflow's form saves for a field that it
    no longer has is null, and a note has a key of its own.
    """
    if value is None or name == _NOTE:
        return
    if name == "headers":
        raise HeaderError(
            "headers",
            "is not read, because Airflow shows what is under it",
            "Move the headers to secret_headers",
        )
    plain = name.strip().lower()
    by_letters = {_NO_LETTER.sub("", key): key for key in sorted(KEYS)}
    letters = _NO_LETTER.sub("", plain.removeprefix(_OLD_PREFIX))
    remedy = _GENERIC
    if name == "__extra__":
        remedy = "Put its content in its place: __extra__ is for the query of a connection URI"
    elif plain in _HEADERS or plain.startswith("x-"):
        remedy = "Move it to secret_headers"
    elif close := get_close_matches(letters, by_letters, n=1, cutoff=0.75):
        remedy = f"Did you mean {by_letters[close[0]]}?"
    raise ConfigurationError("Extra", f"has the unknown key {_shown(name)}", remedy)


def _shown(name: str) -> str:
    return f'"{name}"' if _SHOWABLE.fullmatch(name) else f"of {len(name)} characters (not shown)"
