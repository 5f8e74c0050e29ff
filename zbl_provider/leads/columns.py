"""Which column of a query, or key of a dict, fills which field of the lead (Contract 4.2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Self

from zbl_provider.exceptions import ConfigurationError
from zbl_provider.leads.values import composed, trimmed

BOOLEAN_VERIFICATIONS = ("email_valid", "phone_valid", "cnpj_valid", "ip_proxy", "ip_vpn")
VERIFICATIONS = (
    "email_valid",
    "phone_valid",
    "cnpj_valid",
    "cnpj_status",
    "ip_risk_score",
    "ip_proxy",
    "ip_vpn",
)


class Kind(Enum):
    """What a column's value is to the lead."""

    FIELD = "lead"
    VERIFICATION = "verifications"
    CUSTOM = "custom_fields"
    OBJECT = "a JSON object, merged in"
    NAME_PART = "a part of the name"


@dataclass(frozen=True, slots=True)
class Target:
    """One place in the lead that a column may fill."""

    kind: Kind
    name: str


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a query, its position counted from 0, and the place in the lead it fills."""

    index: int
    kind: Kind
    name: str


_SETTING = "field_map"
_FIELDS = (
    "id",
    "email",
    "name",
    "phone",
    "company",
    "score",
    "status",
    "created_at",
    "qualified_at",
    "list_id",
    "list_name",
)
_TARGETS: Mapping[str, Target] = {
    **{name: Target(Kind.FIELD, name) for name in _FIELDS},
    **{name: Target(Kind.VERIFICATION, name) for name in VERIFICATIONS},
    **{f"verifications.{name}": Target(Kind.VERIFICATION, name) for name in VERIFICATIONS},
    **{name: Target(Kind.OBJECT, name) for name in ("custom_fields", "verifications")},
    **{name: Target(Kind.NAME_PART, name) for name in ("first_name", "last_name")},
    "list.id": Target(Kind.FIELD, "list_id"),
    "list.name": Target(Kind.FIELD, "list_name"),
}


@dataclass(frozen=True, slots=True)
class FieldMap:
    """
    The renaming that an operator's ``field_map`` asks for, checked.

    :param targets: column name to the place in the lead that it fills
    """

    targets: Mapping[str, Target]

    @classmethod
    def parse(cls, field_map: Mapping[str, str] | None) -> Self:
        """
        Check a ``field_map`` before any row is read.

        :param field_map: column name to a field of the contract: ``email``, ``list_id``,
            ``first_name``, ``verifications.ip_vpn``, ``custom_fields.city``, and so on
        :raises ConfigurationError: naming field_map, for a field that is not in the contract, or
            one that two columns would fill
        """
        if field_map is not None and not isinstance(field_map, Mapping):
            raise ConfigurationError(
                _SETTING, "it is not a mapping", "Give column names and the fields they fill"
            )
        targets: dict[str, Target] = {}
        for column, field in (field_map or {}).items():
            if not isinstance(column, str):
                raise ConfigurationError(
                    _SETTING, "a column's name is not text", "Write each column's name as text"
                )
            prefix, _, rest = field.partition(".") if isinstance(field, str) else ("", "", "")
            custom = prefix == Kind.CUSTOM.value and rest
            target = Target(Kind.CUSTOM, rest) if custom else _TARGETS.get(str(field).lower())
            if target is None or not isinstance(field, str):
                raise ConfigurationError(
                    _SETTING,
                    f"{field!r} is not a field of a lead",
                    f"Use one of {', '.join(_FIELDS)}, first_name, last_name, "
                    "verifications.<name> or custom_fields.<name>",
                )
            _claim(targets, column, target)
        return cls(targets)

    def columns(self, names: Sequence[str]) -> tuple[Column, ...]:
        """
        Find the place of each column: by this map, by the contract's names, or as a custom field.

        The contract's names and the map ignore case, because some databases write names that are
        not quoted in capitals, and what an import leaves around a name: blanks, and the byte order
        mark of the file. A custom field keeps its spelling.

        :param names: the columns in the order in which their values will come
        :raises ConfigurationError: naming field_map, if two columns would fill one place, or if
            the map names a column that is not there
        """
        places: dict[str, Target] = {}
        folded = {_plain(column): column for column in self.targets}
        absent = dict(self.targets)
        for position, name in enumerate(names, start=1):
            if name is None or (isinstance(name, str) and not name.strip()):
                raise ConfigurationError(
                    "sql", f"column {position} has no name", "Give it one: SELECT … AS a_name"
                )
            if not isinstance(name, str):
                raise ConfigurationError(
                    _SETTING, "a column's name is not text", "Give each column a name"
                )
            own = None if "." in name else _TARGETS.get(_plain(name))
            named = name if name in self.targets else folded.get(_plain(name), "")
            absent.pop(named, None)
            _claim(places, name, self.targets.get(named) or own or Target(Kind.CUSTOM, name))
        if absent:
            raise ConfigurationError(
                _SETTING,
                f"there is no column {next(iter(absent))!r}",
                "Select it in the query, or take it out of field_map",
            )
        return tuple(
            Column(index, target.kind, target.name) for index, target in enumerate(places.values())
        )


def _plain(name: str) -> str:
    """Return a name as people read it."""
    return composed(trimmed(name)).lower()


def _claim(places: dict[str, Target], column: str, target: Target) -> None:
    for other, taken in places.items():
        if taken == target or other == column:
            raise ConfigurationError(
                _SETTING,
                f"columns {other!r} and {column!r} both fill {target.name}",
                "Rename one of them in the query, or map it to custom_fields.<another name>",
            )
    places[column] = target
