"""The fields of a payload: looked up by name or path, and compared with text (Contract 5.3)."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

from zbl_provider.leads.columns import VERIFICATIONS
from zbl_provider.leads.values import composed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_LEAD: Final = ("id", "email", "name", "phone", "company", "score", "status", "custom_fields",
                "created_at", "qualified_at")  # fmt: skip
SHAPE: Final[Mapping[str, Any]] = {
    "lead": {**dict.fromkeys(_LEAD), "verifications": dict.fromkeys(VERIFICATIONS)},
    "list": {"id": None, "name": None},
}
"""What each lead has, by name; None: whatever its value may hold."""

_ROOTS = tuple(SHAPE)
_ALIASES: Mapping[str, str] = {"list_id": "list.id", "list_name": "list.name"}
_NUMBER = re.compile(r"[+-]?\d{1,100}(\.\d{0,100})?(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
# MySQL, SQLite and Oracle have no booleans of their own.
_TRUTHS: dict[str, bool] = {"false": False, "true": True}
_BOOLEANS: Mapping[str, bool] = _TRUTHS | {"0": False, "1": True}


def field_value(document: object, field: str) -> object:
    """
    Look a field up by its name (a lead's, a custom one, a verification), or by its path.

    Case is ignored, since databases write unquoted names in capitals; an exact match wins.

    :param document: as from :func:`zbl_provider.leads.payload.document`
    :param field: a name, or a dotted path such as ``list.name``
    :return: the value; None where there is none
    """
    lead = value_at(document, ("lead",))
    custom = value_at(lead, ("custom_fields",))
    for place in (lead, custom, value_at(lead, ("verifications",))):
        key = _key(place, field)
        if key is not None:
            return value_at(place, (key,))
    path = _ALIASES.get(field.lower(), field).split(".")
    if path[0].lower() in _ROOTS:
        return value_at(document, path)
    return value_at(lead if _key(lead, path[0]) is not None else custom, path)


def may_have(field: str) -> bool:
    """
    Tell whether a lead may have a field: of what the contract names, there is nothing else.

    A name alone may be a custom field's, and a path may go into one.

    :param field: as of :func:`field_value`
    """
    path = _ALIASES.get(field.lower(), field).lower().split(".")
    known: Any = SHAPE if path[0] in SHAPE else SHAPE["lead"]
    if path[0] not in known:
        return True
    for name in path:
        if known is None:
            break
        if name not in known:
            return False
        known = known[name]
    return True


def value_at(value: object, path: Iterable[str]) -> object:
    """
    Go down a path.

    :param value: a JSON form
    :param path: keys, in upper or lower case
    :return: what is at its end; None where there is nothing
    """
    for name in path:
        key = _key(value, name)
        value = value[key] if isinstance(value, dict) and key is not None else None
    return value


def equals(value: object, text: str) -> bool:
    """
    Tell whether a value is what a filter names; numbers and booleans are compared as such.

    :param value: a JSON form
    :param text: as the filter has it
    """
    if isinstance(value, bool):
        # A verification that the database keeps as 0 and 1 is a boolean of the lead (4.2).
        return _BOOLEANS.get(text.lower()) is value
    if isinstance(value, int | float):
        # A double is compared as one, because no decimal text but its own equals it exactly.
        number_of = Decimal if isinstance(value, int) else float
        if value in (0, 1) and text.lower() in _TRUTHS:
            return _TRUTHS[text.lower()] == value
        return _NUMBER.fullmatch(text) is not None and number_of(text) == value
    if not isinstance(value, str):
        return value == text
    value, text = composed(value), composed(text)
    # As SQL compares: blanks at the end are a CHAR column's padding.
    return text in (value, value.rstrip(" "))


def contains(value: object, text: str) -> bool:
    """
    Tell whether a value has a text in it, or a list has it as an item, in whatever case.

    :param value: a JSON form
    :param text: as the filter has it
    """
    folded = _folded(text)
    if isinstance(value, list):
        return any(_folded(_text(item)) == folded for item in value)
    return folded in _folded(_text(value)) and not is_empty(value)


def is_empty(value: object) -> bool:
    """
    Tell whether a field has no value: it is missing, null, blank, or an empty list or object.

    :param value: a JSON form
    """
    if isinstance(value, str):
        return not value or value.isspace()
    return value is None or value in ([], {})


def _key(value: object, name: str) -> str | None:
    """Return how an object spells a name; None if it does not have it."""
    if not isinstance(value, dict):
        return None
    if name in value:
        return name
    folded = _folded(name)
    return next((key for key in value if _folded(key) == folded), None)


def _folded(text: str) -> str:
    return composed(text).casefold()


def _text(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int | float) else ""
