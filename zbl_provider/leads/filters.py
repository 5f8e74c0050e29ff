"""The integration's rules about which leads it wants, and their verdict (Contract 5.1 to 5.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Self, TypeGuard

from zbl_provider.exceptions import FilterError, InvalidLead
from zbl_provider.leads.values import field_path

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

_NOTHING: tuple[object, ...] = (None, "", [], ())
# Every way to write one; as keys, 70 and 70.0 are the same.
_SCORES: Mapping[int | float | str, int] = {
    **{number: number for number in range(101)},
    **{str(number): number for number in range(101)},
}
_ROOTS = ("lead", "list")
_ALIASES: Mapping[str, str] = {"list_id": "list.id", "list_name": "list.name"}
_SHORT_WORD = re.compile(r"[A-Za-z_ -]{1,32}", re.ASCII)
_NUMBER = re.compile(r"[+-]?\d{1,100}(\.\d{0,100})?(e[+-]?\d{1,3})?", re.ASCII | re.IGNORECASE)
# A field's name is one word unless quoted, so that a slip such as "city is equals X" is refused and
# not taken for a field called "city is", which no lead has.
_FILTER = re.compile(
    r"""(?:"(?P<quoted>[^"]+)"|'(?P<apostrophed>[^']+)'|(?P<field>[^\s"']+))\s+
        (?:(?P<test>is\s+not\s+empty|is\s+empty)
          |(?P<operator>not\s+equals|equals|contains)\s+
           (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|(?P<value>[^"'\s].*)))""",
    re.VERBOSE | re.IGNORECASE,
)


class Operator(StrEnum):
    """What a field filter may ask (Contract 5.3)."""

    EQUALS = "equals"
    NOT_EQUALS = "not equals"
    CONTAINS = "contains"
    IS_EMPTY = "is empty"
    IS_NOT_EMPTY = "is not empty"


# MySQL, SQLite and Oracle have no booleans of their own.
_TRUTHS: Mapping[str, bool] = {"false": False, "true": True}
_EMPTINESS = (Operator.IS_EMPTY, Operator.IS_NOT_EMPTY)


@dataclass(frozen=True, slots=True)
class FieldFilter:
    """
    One line of ``field_filters``.

    :param field: a lead field, a custom field, or a dotted path such as ``list.name``
    :param operator: what is asked of it
    :param value: what it is compared with; empty for the operators that take none
    """

    field: str
    operator: Operator
    value: str = ""

    @classmethod
    def parse(cls, line: str, number: int = 1) -> Self:
        """
        Read one filter, such as ``city equals "New York"`` (Contract 5.3).

        :param line: the text, without a line break
        :param number: which line it is, counted from 1, for the error
        :raises FilterError: naming field_filters and the line
        """
        found = _FILTER.fullmatch(line.strip())
        if found is None:
            raise _refusal(
                "field_filters",
                f"line {number} is not a valid filter",
                "Write <field> equals <value>, <field> not equals <value>, <field> contains "
                "<value>, <field> is empty or <field> is not empty, and quote a field that is "
                "several words",
            )
        parts = found.groupdict()
        operator = " ".join((parts["test"] or parts["operator"]).lower().split())
        value = _first(parts, "double", "single", "value")
        return cls(_first(parts, "quoted", "apostrophed", "field"), Operator(operator), value)

    def holds(self, document: Mapping[str, object]) -> bool:
        """
        Ask a payload (Contract 5.3): a missing field is empty, and differs from every value.

        :param document: as from :func:`zbl_provider.leads.payload.document`
        """
        found = _find(document, self.field)
        match self.operator:
            case Operator.EQUALS:
                return _equals(found, self.value)
            case Operator.NOT_EQUALS:
                return not _equals(found, self.value)
            case Operator.CONTAINS:
                return _contains(found, self.value.casefold())
            case Operator.IS_EMPTY:
                return _is_empty(found)
        return not _is_empty(found)

    def cannot_judge(self, document: Mapping[str, object]) -> bool:
        """Tell whether the field is a list or an object, which cannot be compared with text."""
        found = _find(document, self.field)
        if self.operator in _EMPTINESS or _is_empty(found):
            return False
        compares_items = self.operator is Operator.CONTAINS
        return isinstance(found, dict) or (isinstance(found, list) and not compares_items)


@dataclass(frozen=True, slots=True)
class Filters:
    """
    What an integration wants; all must hold (Contract 5.1).

    :param min_score: the least score, or None
    :param lists: ids or names of lists, none for all
    :param fields: the field filters
    """

    min_score: float | None = None
    lists: tuple[str, ...] = ()
    fields: tuple[FieldFilter, ...] = ()

    @classmethod
    def parse(
        cls, *, min_score: object = None, lists: object = None, field_filters: object = None
    ) -> Self:
        """
        Read the filters as a connection holds them; None, "" and [] are none (Contract 5.2, 5.3).

        :param min_score: integer from 0 (off) to 100, or its text
        :param lists: list names or ids, as a list of text or one a line
        :param field_filters: filters, as a list of text or one a line
        :raises FilterError: naming the field, and the line where there is one
        """
        filters = enumerate(_lines("field_filters", field_filters), start=1)
        return cls(
            _read_min_score(min_score),
            tuple(line for line in _lines("lists", lists) if line),
            tuple(FieldFilter.parse(line, number) for number, line in filters if line),
        )

    def reason(self, document: Mapping[str, object]) -> str | None:
        """
        Say why a payload is kept back; its status comes first (Contract 5.4).

        :param document: as from :func:`zbl_provider.leads.payload.document`
        :return: None if it may go; else the rule and the field, without the lead's personal data
        """
        status = _walk(document, ("lead", "status"))
        if status != "qualified":
            return _status_reason(status)
        return (
            self._score_reason(document)
            or self._list_reason(document)
            or self._field_reason(document)
        )

    def unjudged(self, document: Mapping[str, object]) -> InvalidLead | None:
        """
        Say why a payload that is kept back could not be judged, such as one with a score of "85%".

        :param document: one for which `reason` gave a reason
        :return: what is wrong with the value; None if the filter could judge it
        """
        if _walk(document, ("lead", "status")) != "qualified":
            return None
        if self._score_reason(document):
            judged = _walk(document, ("lead", "score")) is None or _is_number(
                _walk(document, ("lead", "score"))
            )
            rule = "a number, which min_score is compared with"
            return None if judged else InvalidLead("lead.score", f"must be {rule}")
        if self._list_reason(document):
            judged = isinstance(_walk(document, ("list", "name")), str | None)
            rule = "text, which lists are compared with"
            return None if judged else InvalidLead("list.name", f"must be {rule}")
        broken = next(rule for rule in self.fields if not rule.holds(document))
        place = field_path("field_filters", broken.field)
        rule = f"a value that '{broken.operator}' can compare, not a list or an object"
        return InvalidLead(place, f"must be {rule}") if broken.cannot_judge(document) else None

    def _score_reason(self, document: Mapping[str, object]) -> str | None:
        if self.min_score is None:
            return None
        score = _walk(document, ("lead", "score"))
        if not _is_number(score):
            return f"score is unknown, and min_score is {self.min_score:g}"
        return f"score is under min_score {self.min_score:g}" if score < self.min_score else None

    def _list_reason(self, document: Mapping[str, object]) -> str | None:
        if not self.lists:
            return None
        wanted = any(_walk(document, ("list", key)) in self.lists for key in ("id", "name"))
        return None if wanted else "list is none of lists"

    def _field_reason(self, document: Mapping[str, object]) -> str | None:
        for number, rule in enumerate(self.fields, start=1):
            if not rule.holds(document):
                # Not the value: that "city equals X" fails is no secret, but "not equals" would
                # tell what the city is.
                return f"field filter {number} does not hold: {rule.field} {rule.operator}"
        return None


def _is_number(found: object) -> TypeGuard[float]:
    return isinstance(found, int | float) and not isinstance(found, bool)


def _status_reason(status: object) -> str:
    if isinstance(status, str) and _SHORT_WORD.fullmatch(status):
        return f"status is {status!r}"
    return "status is not qualified"


def _read_min_score(value: object) -> float | None:
    value = value.strip() if isinstance(value, str) else value
    if value in _NOTHING:
        return None
    # A JSON editor may give 70.0, which is the integer it was meant to be.
    number = _SCORES.get(value) if isinstance(value, int | float | str) else None
    if number is None or isinstance(value, bool):
        raise _refusal(
            "min_score", "it is not an integer from 0 to 100", "Write one; 0 turns it off"
        )
    return number or None


def _lines(field: str, value: object) -> list[str]:
    """Split into lines, the blank ones too: an error counts them as its reader's editor does."""
    if value in _NOTHING:
        return []
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list | tuple):
        raise _refusal(field, "it is not a list of texts", "Write one entry a line")
    lines: list[str] = []
    for number, entry in enumerate(entries, start=1):
        text = str(entry) if type(entry) is int else entry
        if not isinstance(text, str):
            raise _refusal(field, f"entry {number} is not text", "Write each entry as text")
        lines += [line.strip() for line in text.splitlines() or [""]]
    return lines


def _first(parts: Mapping[str, str | None], *names: str) -> str:
    return next((part for name in names if (part := parts[name]) is not None), "")


def _find(document: object, field: str) -> object:
    """
    Look a field up by its name (a lead's, a custom one, a verification), or by its path.

    Upper and lower case are one: databases upper-case what is not quoted. The very name wins.
    """
    lead = _walk(document, ("lead",))
    custom = _walk(lead, ("custom_fields",))
    for place in (lead, custom, _walk(lead, ("verifications",))):
        key = _key(place, field)
        if key is not None:
            return _walk(place, (key,))
    path = _ALIASES.get(field.lower(), field).split(".")
    if path[0].lower() in _ROOTS:
        return _walk(document, path)
    inner = _key(lead, path[0]) is not None
    return _walk(lead if inner else custom, path)


def _walk(found: object, path: Iterable[str]) -> object:
    for name in path:
        key = _key(found, name)
        found = found[key] if isinstance(found, dict) and key is not None else None
    return found


def _key(found: object, name: str) -> str | None:
    """Give a name its spelling in an object; None if it has none."""
    if not isinstance(found, dict):
        return None
    if name in found:
        return name
    folded = name.casefold()
    return next((key for key in found if key.casefold() == folded), None)


def _equals(found: object, value: str) -> bool:
    if isinstance(found, bool):
        return value == _text(found)
    if isinstance(found, int | float):
        # A double is compared as one, because no decimal text but its own equals it exactly.
        number = Decimal if isinstance(found, int) else float
        if found in (0, 1) and value.lower() in _TRUTHS:
            return _TRUTHS[value.lower()] == found
        return _NUMBER.fullmatch(value) is not None and number(value) == found
    # As SQL compares: blanks at the end are a CHAR column's padding.
    return found == value or (isinstance(found, str) and found.rstrip(" ") == value)


def _contains(found: object, value: str) -> bool:
    if isinstance(found, list):
        return any(_text(item).casefold() == value for item in found)
    return value in _text(found).casefold() and not _is_empty(found)


def _is_empty(found: object) -> bool:
    if isinstance(found, str):
        return not found or found.isspace()
    return found is None or found in ([], {})


def _text(found: object) -> str:
    if isinstance(found, bool):
        return "true" if found else "false"
    return str(found) if isinstance(found, str | int | float) else ""


def _refusal(field: str, problem: str, remedy: str) -> FilterError:
    return FilterError(field=field, problem=problem, remedy=remedy)
