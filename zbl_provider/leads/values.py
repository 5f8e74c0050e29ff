"""
The JSON form of what databases and Python programs hold (Contract 2.2 and 4.2).

=============================  ====================================================================
value                          JSON
=============================  ====================================================================
None, bool, str                as they are
int                            number; text beyond 64 bits, which JSON libraries don't read back
float                          number; NaN and infinity make the lead invalid
Decimal                        number where it is the very same number, else text with all digits
datetime                       RFC 3339 text, UTC, whole seconds, ``Z``; UTC where it names no zone
date, time                     ISO 8601 text
timedelta                      number of seconds
UUID, IP address and network   text
bytes, bytearray, memoryview   in a text field the text, which must be UTF-8; else Base64 text
Enum                           the form of its value
list, tuple, set, frozenset    array; a set is sorted, so that its lead stays the same lead
mapping                        object; a key that is a number, a date or the like is its text
Undecodable                    makes the lead invalid: its driver could not read it
anything else                  makes the lead invalid
=============================  ====================================================================

Every function takes the value and the path to name in the error, and raises InvalidLead, which
holds that path and the rule, never the value: errors are raised outside ``except`` blocks, so that
no parser's message, which quotes its input, hangs on them as context.
"""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from hashlib import blake2b
from ipaddress import (
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)
from typing import Any, TypeAlias
from unicodedata import normalize
from uuid import UUID

from zbl_provider.exceptions import InvalidLead

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

_SMALLEST, _LARGEST = -(2**63), 2**64 - 1
_LARGEST_EXACT = 2**53
_SAFE_DIGITS = 18
_LONGEST_INTEGER = 1024
_NUMBER = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
_FORBIDDEN_IN_IDS = re.compile("[\\x00-\\x1f\\x7f-\\x9f\\u2028\\u2029\\ud800-\\udfff]")
_LONGEST_ID = 255
_LONGEST_WORD = 100
_LONGEST_TIME = 255  # as text: what removes blanks from it looks at each of them many times
_FEW = 2**63 - 1  # whole numbers up to here are written as they are
_NOT_UTF8 = (
    "must be text in UTF-8: look at the encoding of the database, or of its connection "
    "(bytes that are no text, such as a binary id, need hex or Base64 in the query)"
)
_READY_TIME = re.compile(r"\d{4}-\d\d-\d\dT(?:[01]\d|2[0-3]):\d\d:\d\dZ", re.ASCII)
_TIME = re.compile(r"\d{4}-\d\d-\d\d([T ][\d:.,+Z-]+)?|\d{8}T[\d:.,+Z-]+", re.ASCII)
# Some programs write "UTC" behind the time, and a blank before its offset.
_ZONE_NAME = re.compile(r"\s*(?:UTC|GMT)$")
_BEFORE_OFFSET = re.compile(r"\s+(?=[+-]\d|Z$)")
_PLAIN_NAME = re.compile(r"[^\W\d][\w -]{0,63}")  # letters of any language
# Equal keys hash alike, so 0 and 1 also stand for 0.0 and 1.0.
_BOOLEANS: Mapping[object, bool] = {
    0: False,
    1: True,
    **dict.fromkeys(("0", "0.0", "false", "f", "no", "n", "off", "não", "nao", "falso"), False),
    **dict.fromkeys(("1", "1.0", "true", "t", "yes", "y", "on", "sim", "s", "sí", "si"), True),
    **dict.fromkeys(("verdadeiro", "verdadero", "v"), True),
}
_BITS: Mapping[bytes, bool] = {b"\x00": False, b"\x01": True}  # what MySQL's BIT(1) becomes
_BOM = "\ufeff"
_BLANK = "".join(filter(str.isspace, map(chr, range(0x3001))))  # there are none beyond
# Invisible characters that come along when a text is pasted or exported: marks of byte order, of
# direction and of no width.
_UNSEEN = "\u00ad\ufeff" + "".join(
    map(chr, (*range(0x200B, 0x2010), *range(0x202A, 0x202F), *range(0x2060, 0x206A)))
)
_SURROGATE = re.compile("[\ud800-\udfff]")
_WRITTEN = (
    UUID,
    IPv4Address,
    IPv4Interface,
    IPv4Network,
    IPv6Address,
    IPv6Interface,
    IPv6Network,
)


class PaddedText(str):
    """
    Text of a CHAR column, with the blanks that fill it up to its width.

    They are not part of the text, and are dropped. Only an id keeps them: with another id a lead
    would be another lead, and be sent again.
    """

    __slots__ = ()


class Undecodable:
    """
    A value that its driver could not read, in the place of that value (Contract 4.9).

    :param kind: the type that the database gives it, such as ``timestamptz``
    :param data: the value as it came; not shown, but a changed value is another one
    """

    __slots__ = ("_digest", "kind")

    def __init__(self, kind: str, data: bytes) -> None:
        self.kind = kind
        self._digest = blake2b(data, digest_size=8).hexdigest()

    def __repr__(self) -> str:
        return f"Undecodable({self.kind}, {self._digest})"


def trimmed(text: str, fill: str = "") -> str:
    """
    Return a text without blanks, line ends and invisible characters around it.

    :param text: any
    :param fill: what else is none of it
    """
    # A regular expression would look at long blanks within the text once for each of them.
    return text.strip(_BLANK + _UNSEEN + fill)


def composed(text: str) -> str:
    """Return a text with each accent in its letter: some systems write it behind, as one more."""
    if text.isascii():
        return text
    # A hundred thousand accents behind one letter would be put in order for minutes.
    words = text.split(" ")
    return " ".join([normalize("NFC", w) if len(w) <= _LONGEST_WORD else w for w in words])


@lru_cache(maxsize=1024)
def field_path(parent: str, name: str) -> str:
    """
    Name a field inside another, unless its name might itself be somebody's data.

    :param parent: path of the outer field, such as ``lead.custom_fields``
    :param name: the key; an e-mail address or a phone number used as one is left out
    :return: ``parent.name``, or ``parent`` alone
    """
    # An accent that stands behind its letter, as a character of its own, is no letter.
    name = composed(name)
    return f"{parent}.{name}" if _PLAIN_NAME.fullmatch(name) else parent


def as_json(value: object, path: str) -> JSON:
    """
    Give a value its JSON form: the table at the top of this module (Contract 2.2).

    :param value: anything a driver, or the author of a Dag, hands over
    :param path: what to call its place if it has no such form, such as ``lead.custom_fields.city``
    :raises InvalidLead: for NaN, infinity, keys that are not text, and unknown types
    """
    if value is None or type(value) is str or type(value) is bool:
        return value
    if type(value) is int and _SMALLEST <= value <= _LARGEST:
        return value
    return _form(value, path)


def as_object(value: object, path: str) -> dict[str, JSON]:
    """
    Read a JSON column: a mapping, or the JSON text of one; NULL and blank are an empty object.

    :param value: what ``json``, ``jsonb`` and text columns become: dict, str or bytes
    :param path: as in :func:`as_json`; an error adds the name of the field, and no deeper ones
    :raises InvalidLead: if it is not an object, or holds what has no JSON form
    """
    if isinstance(value, memoryview):
        value = value.tobytes()
    if isinstance(value, str | bytes | bytearray):
        value = _parse(value, path) if value.strip() else None
    # PHP writes an empty map as an empty list.
    if value is None or value in ([], ()):
        return {}
    if isinstance(value, Undecodable):
        as_json(value, path)
    if not isinstance(value, dict | Mapping):
        raise InvalidLead(path, "must be a JSON object")
    form: dict[str, JSON] = {}
    for key, item in value.items():
        name = _name(key, path)
        plain = item is None or type(item) is str or type(item) is bool
        form[name] = item if plain else as_json(item, field_path(path, name))
    return _each_once(form, value, path)


def as_text(value: object, path: str) -> JSON:
    """
    Read a text field: blank is unknown, and a number (a phone kept as BIGINT) is its digits.

    Text may come as bytes, which must be UTF-8.

    :param value: any; what is neither text nor number keeps its JSON form, for the schema to judge
    :param path: as in :func:`as_json`
    :raises InvalidLead: as :func:`as_json`, and for bytes that are not UTF-8
    """
    form = _text_form(value, path)
    if isinstance(form, str):
        return None if not form or form.isspace() else form
    return form


def as_email(value: object, path: str) -> JSON:
    """
    Read an email: a text field, without blanks, line ends and invisible characters around it.

    :param value: as of :func:`as_text`
    :param path: as in :func:`as_json`
    :raises InvalidLead: as :func:`as_text`
    """
    form = as_text(value, path)
    # NULs fill a field of fixed length.
    return trimmed(form, "\0") or None if isinstance(form, str) else form


def as_word(value: object, path: str) -> JSON:
    """
    Read a text field that is compared with words, such as ``status``.

    Not every driver says that a column is a CHAR, so blanks at the end count as its padding.

    :param value: as of :func:`as_text`
    :param path: as in :func:`as_json`
    :raises InvalidLead: as :func:`as_text`
    """
    form = as_text(value, path)
    return form.rstrip(" ") if isinstance(form, str) else form


def _text_form(value: object, path: str) -> JSON:
    if type(value) is str or type(value := _decoded(value, path)) is str:
        return value
    if isinstance(value, Decimal) and value.is_finite() and value.adjusted() < _LONGEST_ID:
        whole = value.to_integral_value()
        if value == whole:
            return str(int(whole))  # all its digits: as a number it may be a float, such as 1e+20
    form = as_json(_exact(value), path)
    return str(form) if isinstance(form, int | float) and not isinstance(form, bool) else form


def _decoded(value: object, path: str) -> object:
    """Return the text that a driver hands over as bytes; anything else stays as it is."""
    if not isinstance(value, bytes | bytearray | memoryview):
        return value
    try:
        return bytes(value).decode()
    except UnicodeDecodeError:
        pass
    raise InvalidLead(path, _NOT_UTF8)


def as_identifier(value: object, path: str) -> str | None:
    """
    Read an id, which is text whatever the column's type (Contract 2.2); blank is unknown.

    The number 42 is ``"42"`` from an integer, a NUMERIC and a REAL column alike. A time keeps the
    fraction of its second, as no other field does.

    :param value: text, number, UUID, or another value whose JSON form is text
    :param path: as in :func:`as_json`
    :raises InvalidLead: for booleans and structures, control characters, or over 255 characters
    """
    # Nearly every id is one of these two, and each row of a look-back has one to be read.
    if type(value) is int and -_FEW <= value <= _FEW:
        return str(value)
    if type(value) is str and value.isprintable() and len(value) <= _LONGEST_ID and value.strip():
        return value
    form = str(value) if type(value) is PaddedText else _text_form(value, path)
    if isinstance(value, datetime) and value.microsecond:
        # Cut off, the fraction would make one lead of all that came within a second.
        form = f"{str(form).removesuffix('Z')}.{value.microsecond:06}Z"
    if form is None or (isinstance(form, str) and (not form or form.isspace())):
        return None
    if not isinstance(form, str):
        raise InvalidLead(path, "must be text, a number or a UUID")
    if _SURROGATE.search(form):
        raise InvalidLead(path, _NOT_UTF8)
    # The schema says both, too, but a lead without a usable id could not even be recorded.
    if len(form) > _LONGEST_ID:
        raise InvalidLead(path, f"must be at most {_LONGEST_ID} characters long")
    if _FORBIDDEN_IN_IDS.search(form):
        raise InvalidLead(path, "must not contain control characters")
    return form


def as_number(value: object, path: str) -> JSON:
    """
    Read a number field; numeric text counts, since templates render everything to text.

    :param value: any; what is no number keeps its JSON form, for the schema to judge
    :param path: as in :func:`as_json`
    :return: an int where the number is whole, so that 85, 85.0 and NUMERIC 85 are one payload
    :raises InvalidLead: for NaN and infinity
    """
    if type(value) is int:
        return as_json(value, path)
    value = _decoded(value, path)
    if isinstance(value, str):
        text = value.strip()
        value = float(text) if _NUMBER.fullmatch(text) else (text or None)
    elif isinstance(value, Decimal):
        value = float(value) if value.is_finite() else math.nan
    return as_json(_exact(value), path)


def as_boolean(value: object, path: str) -> JSON:
    """
    Read a boolean field; 0 and 1 count, for databases without booleans (Contract 4.2).

    :param value: any; what is no boolean keeps its JSON form, for the schema to judge
    :param path: as in :func:`as_json`
    :raises InvalidLead: as :func:`as_json`
    """
    if isinstance(value, int):
        known = _BOOLEANS.get(value)
        return as_json(value, path) if known is None else known
    if isinstance(value, bytes | bytearray | memoryview):
        bit = _BITS.get(bytes(value))
        value = _decoded(value, path) if bit is None else bit
    if isinstance(value, str):
        value = composed(value.strip().lower()) or None  # an accent may be apart: "não"
    elif isinstance(value, Decimal):
        return as_boolean(as_json(value, path), path)
    known = _BOOLEANS.get(value) if isinstance(value, float | str | bool) else None
    return as_json(value, path) if known is None else known


def as_time(value: object, path: str) -> str | None:
    """
    Read a time: a datetime, a date (its midnight) or ISO 8601 text; UTC where it names no zone.

    :param value: as above; blank text is unknown
    :param path: as in :func:`as_json`
    :return: RFC 3339 in UTC with whole seconds and ``Z`` (Contract 2.2); fractions are cut off
    :raises InvalidLead: if it cannot be read; epoch numbers, which name no unit, are not guessed
    """
    value = _decoded(value, path)
    if value is None or (isinstance(value, str) and (not value or value.isspace())):
        return None
    if isinstance(value, str):
        if _READY_TIME.fullmatch(value) and _from_iso(value):
            return value
        written = value.strip()
        if len(written) <= _LONGEST_TIME and not _TIME.fullmatch(written):
            written = _BEFORE_OFFSET.sub("", _ZONE_NAME.sub("", written.upper()))
        value = _from_iso(written) if _TIME.fullmatch(written) else None
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    text = _utc_text(value) if isinstance(value, datetime) else None
    if text is None:
        raise InvalidLead(path, "must be a time, as a datetime or as ISO 8601 text")
    return text


def lone_surrogate(form: object, path: str) -> str | None:
    """
    Find text that is not Unicode, because a half of a surrogate pair is in it.

    A driver's text that was not UTF-8 holds some in the place of each byte (``surrogateescape``).

    :param form: a JSON form
    :param path: what to call its place
    :return: the path of the text, or of the object whose key it is; None if there is none
    """
    if isinstance(form, str):
        return path if _SURROGATE.search(form) else None
    if isinstance(form, list):
        return next((place for item in form if (place := lone_surrogate(item, path))), None)
    if isinstance(form, dict):
        for key, item in form.items():
            if _SURROGATE.search(key):
                return path
            inner = field_path(path, key) if path else key
            if place := lone_surrogate(item, inner):
                return place
    return None


def _form(value: object, path: str) -> JSON:  # noqa: C901, PLR0911, PLR0912  the table's rows
    """Return the form of a value that is not plain; a subclass has the form of its base."""
    match value:
        case PaddedText():
            return value.rstrip(" ")
        case str():
            return str.__str__(value)  # not str(value): the text of an enum's member is its name
        case int() | float() | Decimal():
            return _number_form(value, path)
        case dict():
            return _object(value, path)
        case list() | tuple():
            return [as_json(item, path) for item in value]
        case datetime():
            return as_time(value, path)
        case date() | time():
            return value.isoformat()
        case timedelta():
            seconds = value.total_seconds()
            return int(seconds) if seconds.is_integer() else seconds
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode("ascii")
        case Undecodable():
            rule = f"must be a value that its driver can read, of the type {value.kind}"
            raise InvalidLead(path, rule)
        case Enum():
            return as_json(value.value, path)
        case AbstractSet():
            return sorted((as_json(item, path) for item in value), key=repr)
        case Mapping():
            return _object(value, path)
    if isinstance(value, _WRITTEN):
        return str(value)
    raise InvalidLead(path, f"must have a JSON form; the type {type(value).__name__} has none")


def _number_form(value: float | Decimal, path: str) -> JSON:
    if isinstance(value, int):
        if _SMALLEST <= value <= _LARGEST:
            return int(value)
        # Python refuses to write out thousands of digits, for the time that this takes.
        if value.bit_length() > _LONGEST_INTEGER:
            raise InvalidLead(path, f"must be a number of at most {_LONGEST_INTEGER} bits")
        return str(int(value))
    finite = value.is_finite() if isinstance(value, Decimal) else math.isfinite(value)
    if not finite:
        raise InvalidLead(path, "must be a finite number")
    if isinstance(value, float):
        return float(value)
    if value.adjusted() < _SAFE_DIGITS and value == value.to_integral_value():
        return int(value)
    double = float(value)
    return double if Decimal(repr(double)) == value else str(value)


def _object(value: Mapping[Any, object], path: str) -> JSON:
    form = {_name(key, path): as_json(item, path) for key, item in value.items()}
    return _each_once(form, value, path)


def _each_once(form: dict[str, JSON], value: Mapping[Any, Any], path: str) -> dict[str, JSON]:
    if len(form) < len(value):
        raise InvalidLead(path, "must have each name once; as text, two of them are the same")
    return form


def _name(key: object, path: str) -> str:
    """Name a member: JSON's names are text, the keys of a database's MAP may be of any type."""
    if isinstance(key, str):
        return str.__str__(key)
    form = None if key is None or isinstance(key, tuple) else _text_form(key, path)
    if isinstance(form, bool):
        return "true" if form else "false"
    if not isinstance(form, str):
        raise InvalidLead(path, "must have names that are text")
    return form


def _exact(value: object) -> object:
    """Turn 42.0 into 42, in the range in which every double is exact."""
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT:
        return int(value)
    return value


def _parse(text: str | bytes | bytearray, path: str) -> object:
    """Read JSON text. Other text comes back as it is: it is no object, and its caller says so."""
    parsed: object = text
    rule = None
    for _ in range(2):  # some programs encode what is JSON text already
        if not isinstance(parsed, str | bytes | bytearray):
            break
        try:
            # json itself removes the byte order mark of bytes.
            parsed = json.loads(parsed.lstrip(_BOM) if isinstance(parsed, str) else parsed)
        except (json.JSONDecodeError, UnicodeDecodeError):
            return text
        except ValueError:
            rule = "must not hold numbers of thousands of digits"
        except RecursionError:
            rule = "must not nest its values so deeply"
        if rule:
            raise InvalidLead(path, rule)
    return parsed


def _from_iso(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


def _utc_text(value: datetime) -> str | None:
    try:
        if value.tzinfo is not UTC and value.utcoffset() is not None:
            value = value.astimezone(UTC)
    except (OverflowError, ValueError):
        return None
    return value.isoformat(timespec="seconds")[:19] + "Z"
