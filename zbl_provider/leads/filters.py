"""The integration's rules about which leads it wants, and their verdict (Contract 5.1 to 5.4)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self, TypeGuard

from zbl_provider.exceptions import FilterError, InvalidLead
from zbl_provider.leads.fields import (
    contains,
    equals,
    field_value,
    is_empty,
    may_have,
    value_at,
)
from zbl_provider.leads.values import composed, trimmed

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_NOTHING: tuple[object, ...] = (None, "", [], ())
# Every way to write one; as keys, 70 and 70.0 are the same.
_SCORES: Mapping[int | float | str, int] = {
    **{score: score for score in range(101)},
    **{str(score): score for score in range(101)},
}
_SHORT = 40
_SHORT_WORD = re.compile(r"[A-Za-z_ -]{1,32}", re.ASCII)

# A field's name is one word unless quoted, so that a slip such as "city is equals X" is refused and
# not taken for a field called "city is", which no lead has.
_FILTER = re.compile(
    r"""(?:"(?P<quoted>[^"]+)"|'(?P<apostrophed>[^']+)'|(?P<field>[^\s"']+))\s+
        (?:(?P<test>is\s+not\s+empty|is\s+empty)
          |(?P<operator>not\s+equals|equals|contains)\s+
           (?:"(?P<double>[^"]*)"|'(?P<single>[^']*)'|“(?P<curly>[^“”]*)”
             |\u2018(?P<curved>[^\u2018\u2019]*)\u2019|(?P<value>[^"'“\s].*)))""",
    re.VERBOSE | re.IGNORECASE,
)
# A reason names the field, and no database of the log keeps a NUL, or half a surrogate pair.
_UNSEEN = re.compile(r"[\x00-\x08\x0e-\x1f\x7f\ud800-\udfff]")


class Operator(StrEnum):
    """What a field filter may ask (Contract 5.3)."""

    EQUALS = "equals"
    NOT_EQUALS = "not equals"
    CONTAINS = "contains"
    IS_EMPTY = "is empty"
    IS_NOT_EMPTY = "is not empty"


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
    def parse(cls, line: str, line_number: int = 1) -> Self:
        """
        Read one filter, such as ``city equals "New York"`` (Contract 5.3).

        :param line: the text, without a line break
        :param line_number: which line it is, counted from 1, for the error
        :raises FilterError: naming field_filters and the line
        """
        match = _FILTER.fullmatch(trimmed(line))
        if match is None or _UNSEEN.search(line):
            raise FilterError(
                "field_filters",
                f"line {line_number} is not a valid filter",
                "Write <field> equals <value>, <field> not equals <value>, <field> contains "
                "<value>, <field> is empty or <field> is not empty, and quote a field that is "
                "several words",
            )
        parts = match.groupdict()
        operator = " ".join((parts["test"] or parts["operator"]).lower().split())
        # What cannot be seen comes along when a filter is pasted; who means it quotes it.
        field = _first(parts, "quoted", "apostrophed") or trimmed(parts["field"] or "")
        quoted = _first(parts, "double", "single", "curly", "curved")
        value = quoted or trimmed(parts["value"] or "")
        return cls(field, Operator(operator), value)

    def holds(self, document: Mapping[str, object]) -> bool:
        """
        Judge a payload (Contract 5.3): a missing field is empty, and differs from every value.

        What the filter cannot judge does not hold; see :meth:`cannot_judge`.

        :param document: as from :func:`zbl_provider.leads.payload.document`
        """
        value = field_value(document, self.field)
        match self.operator:
            case Operator.EQUALS:
                return equals(value, self.value)
            case Operator.NOT_EQUALS:
                return not (self._cannot_compare(value) or equals(value, self.value))
            case Operator.CONTAINS:
                return contains(value, self.value)
            case Operator.IS_EMPTY:
                return is_empty(value)
        return not is_empty(value)

    def cannot_judge(self, document: Mapping[str, object]) -> bool:
        """Tell whether the field is a list or an object, which cannot be compared with text."""
        return self._cannot_compare(field_value(document, self.field))

    def _cannot_compare(self, value: object) -> bool:
        if self.operator in _EMPTINESS or is_empty(value):
            return False
        compares_items = self.operator is Operator.CONTAINS
        return isinstance(value, dict) or (isinstance(value, list) and not compares_items)


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
        threshold = min_score.strip() if isinstance(min_score, str) else min_score
        score: int | None = None
        if threshold in _NOTHING:
            score = 0
        elif isinstance(threshold, int | float | str) and not isinstance(threshold, bool):
            # A JSON editor may give 70.0, which is the integer it was meant to be.
            score = _SCORES.get(threshold)
        if score is None:
            raise FilterError(
                "min_score", "it is not an integer from 0 to 100", "Write one; 0 turns it off"
            )
        filters = enumerate(_lines("field_filters", field_filters), start=1)
        return cls(
            score or None,
            tuple(composed(line) for line in _lines("lists", lists) if line),
            tuple(FieldFilter.parse(line, place) for place, line in filters if line),
        )

    def remarks(self) -> Iterator[str]:
        """Say which filters look for a field that no lead has, unless a column is named so."""
        for rule in self.fields:
            if not may_have(rule.field):
                yield (
                    f"field_filters looks for {rule.field}, which is no field of a lead; "
                    f"a custom field is named alone: {rule.field.rpartition('.')[2]}"
                )

    def reason(self, document: Mapping[str, object]) -> str | None:
        """
        Say why a payload is kept back; its status comes first (Contract 5.4).

        :param document: as from :func:`zbl_provider.leads.payload.document`
        :return: None if it may go; else the rule and the field, without the lead's personal data
        """
        status = value_at(document, ("lead", "status"))
        if status != "qualified":
            # Written out, a line end or an unseen mark behind the word can be seen.
            word = trimmed(status) if isinstance(status, str) and len(status) <= _SHORT else ""
            plain = _SHORT_WORD.fullmatch(word)
            return f"status is {status!r}" if plain else "status is not qualified"
        if reason := self._score_reason(document) or self._list_reason(document):
            return reason
        for place, rule in enumerate(self.fields, start=1):
            if not rule.holds(document):
                # Not the value: that "city equals X" fails is no secret, but "not equals" would
                # tell what the city is.
                return f"field filter {place} does not hold: {rule.field} {rule.operator}"
        return None

    def unjudged(self, document: Mapping[str, object]) -> InvalidLead | None:
        """
        Say why a payload that is kept back could not be judged, such as one with a score of "85%".

        :param document: one for which `reason` gave a reason
        :return: what is wrong with the value; None if the filter could judge it
        """
        if value_at(document, ("lead", "status")) != "qualified":
            return None
        if self._score_reason(document):
            score = value_at(document, ("lead", "score"))
            judged = score is None or _is_number(score)
            rule = "a number, which min_score is compared with"
            return None if judged else InvalidLead("lead.score", f"must be {rule}")
        if self._list_reason(document):
            judged = isinstance(value_at(document, ("list", "name")), str | None)
            rule = "text, which lists are compared with"
            return None if judged else InvalidLead("list.name", f"must be {rule}")
        broken = next(rule for rule in self.fields if not rule.holds(document))
        if not broken.cannot_judge(document):
            return None
        rule = f"a value that '{broken.operator}' can compare, not a list or an object"
        # The field as the filter has it: its writer's words, and no lead's data.
        return InvalidLead(f"field_filters.{broken.field}", f"must be {rule}")

    def _score_reason(self, document: Mapping[str, object]) -> str | None:
        if self.min_score is None:
            return None
        score = value_at(document, ("lead", "score"))
        if not _is_number(score):
            return f"score is unknown, and min_score is {self.min_score:g}"
        return f"score is under min_score {self.min_score:g}" if score < self.min_score else None

    def _list_reason(self, document: Mapping[str, object]) -> str | None:
        if not self.lists:
            return None
        names = (value_at(document, ("list", key)) for key in ("id", "name"))
        # A line of lists has no blanks around it; the id of a CHAR column has its padding.
        wanted = any(
            isinstance(name, str) and composed(trimmed(name)) in self.lists for name in names
        )
        return None if wanted else "list is not one of lists"


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _lines(field: str, value: object) -> list[str]:
    """Split into lines, the blank ones too: an error counts them as its reader's editor does."""
    if value in _NOTHING:
        return []
    entries = [value] if isinstance(value, str) else value
    if not isinstance(entries, list | tuple):
        raise FilterError(field, "it is not a list of texts", "Write one entry a line")
    lines: list[str] = []
    for place, entry in enumerate(entries, start=1):
        text = str(entry) if type(entry) is int else entry
        if not isinstance(text, str):
            raise FilterError(field, f"entry {place} is not text", "Write each entry as text")
        lines += [trimmed(line) for line in text.splitlines() or [""]]
    return lines


def _first(parts: Mapping[str, str | None], *names: str) -> str:
    return next((part for name in names if (part := parts[name]) is not None), "")
