"""A row of a query, or a dict, becomes a Lead (Contract 4.1 and 4.2)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Generic, NamedTuple, TypeVar

from zbl_provider.exceptions import ConfigurationError, InvalidLead
from zbl_provider.leads.columns import (
    BOOLEAN_VERIFICATIONS,
    VERIFICATIONS,
    Column,
    FieldMap,
    Kind,
)
from zbl_provider.leads.values import (
    JSON,
    as_boolean,
    as_email,
    as_identifier,
    as_json,
    as_number,
    as_object,
    as_text,
    as_time,
    as_word,
    field_path,
)


class Lead(NamedTuple):
    """
    A lead in the contract's words (Contract 2.2); what is unknown is None.

    A tuple, since each row makes one: a frozen dataclass takes three times as long.

    Fields hold JSON forms, of the right type wherever the row had one: whether ``score`` is a
    number from 0 to 100 is for the schema to say. Its ``repr`` shows the id alone, since everything
    else is personal data.

    :param id: text, never empty
    :param custom_fields: any JSON, by name
    :param verifications: always the seven names of VERIFICATIONS
    :param created_at: RFC 3339, UTC, whole seconds, ``Z``
    :param qualified_at: the same
    :param list_id: id of the list that the lead came from
    """

    id: str
    custom_fields: dict[str, JSON]
    verifications: dict[str, JSON]
    email: JSON = None
    name: JSON = None
    phone: JSON = None
    company: JSON = None
    score: JSON = None
    status: JSON = None
    created_at: str | None = None
    qualified_at: str | None = None
    list_id: str | None = None
    list_name: JSON = None

    def __repr__(self) -> str:
        return f"Lead(id={self.id!r})"


_Form = TypeVar("_Form")


class _Step(NamedTuple, Generic[_Form]):
    """How one column is read; a plain tuple, since unpacking one is what each row costs."""

    at: int
    name: str
    read: Callable[[object, str], _Form]
    path: str


_READ_STRICT: Mapping[str, Callable[[object, str], str | None]] = {
    "id": as_identifier,
    "list_id": as_identifier,
    "created_at": as_time,
    "qualified_at": as_time,
}
_READ: Mapping[str, Callable[[object, str], JSON]] = {
    **dict.fromkeys(("name", "phone", "company"), as_text),
    **dict.fromkeys(("status", "list_name"), as_word),
    "email": as_email,
    **dict.fromkeys(("score", "ip_risk_score"), as_number),
    **dict.fromkeys(BOOLEAN_VERIFICATIONS, as_boolean),
    "cnpj_status": as_text,
}
_PATHS = {
    "list_id": "list.id",
    "list_name": "list.name",
    **{name: f"lead.verifications.{name}" for name in VERIFICATIONS},
}
_UNVERIFIED: Mapping[str, JSON] = dict.fromkeys(VERIFICATIONS)


class RowReader:
    """
    Reads the rows of one query: looks at the columns once, then at each row for microseconds.

    Columns named as the contract's fields fill them, in upper or lower case; ``custom_fields`` and
    ``verifications`` are JSON objects, merged in, where a column of its own that is not NULL wins;
    every other column is a custom field. Where there is no ``name`` column, ``first_name`` and
    ``last_name`` are used up for the name; where there is one, they are custom fields, and stand in
    when it is NULL. Without a ``status`` column every row is qualified: the query has chosen.
    A verification that the contract does not know is a custom field, so that nothing is lost.

    :param columns: the query's column names, in the order of each row's values
    :param field_map: column name to field of the contract; see :meth:`FieldMap.parse`
    :raises ConfigurationError: naming field_map, see :meth:`FieldMap.columns`
    """

    def __init__(self, columns: Sequence[str], field_map: Mapping[str, str] | None = None) -> None:
        places = FieldMap.parse(field_map).columns(columns)
        fields = [place for place in places if place.kind is Kind.FIELD]
        names = {place.name for place in fields}
        parts = [place for place in places if place.kind is Kind.NAME_PART]
        custom = (Kind.CUSTOM, Kind.NAME_PART) if "name" in names else (Kind.CUSTOM,)
        self._width = len(columns)
        self._strict = [
            _Step(place.index, place.name, _READ_STRICT[place.name], _path_of(place))
            for place in fields
            if place.name in _READ_STRICT
        ]
        self._id = next((step for step in self._strict if step.name == "id"), None)
        self._fields = [
            _Step(place.index, place.name, _READ[place.name], _path_of(place))
            for place in fields
            if place.name in _READ
        ]
        self._verifications = [
            _Step(place.index, place.name, _READ[place.name], _path_of(place))
            for place in places
            if place.kind is Kind.VERIFICATION
        ]
        self._custom = [
            _Step(place.index, place.name, as_json, field_path("lead.custom_fields", place.name))
            for place in places
            if place.kind in custom
        ]
        self._objects = {place.name: place.index for place in places if place.kind is Kind.OBJECT}
        self._name_parts = [place.index for place in sorted(parts, key=lambda part: part.name)]

    @property
    def has_id(self) -> bool:
        """Whether a column is the id, without which no row can be a lead."""
        return self._id is not None

    def __call__(self, values: Sequence[object]) -> Lead:
        """
        Read one row.

        :param values: the row's values, one for each column
        :raises InvalidLead: for a missing id, a time that cannot be read, NaN, a JSON column that
            is no object, a type that has no JSON form; it names the place, never the value
        :raises ValueError: if there are more or fewer values than columns
        """
        if len(values) != self._width:
            raise ValueError(f"{len(values)} values for {self._width} columns")
        try:
            return self._read(values)
        except InvalidLead:
            raise
        except RecursionError:
            rule = "must not nest its values so deeply"
        except Exception as problem:  # noqa: BLE001  whatever a driver's types do (Contract 4.9)
            rule = f"must have values that can be read, which ended in {type(problem).__name__}"
        raise InvalidLead("lead", rule)

    def lead_id(self, values: Sequence[object]) -> str | None:
        """
        Find the id of a row, whether or not the rest of it can be read.

        :param values: the row's values, one for each column
        :return: the id, or None where it is the id itself that is missing or unusable
        """
        if self._id is None:
            return None
        try:
            return self._id.read(values[self._id.at], self._id.path)
        except Exception:  # noqa: BLE001  whatever a driver's types do (Contract 4.9)
            return None

    def _read(self, values: Sequence[object]) -> Lead:
        strict = {name: read(values[at], path) for at, name, read, path in self._strict}
        fields = {name: read(values[at], path) for at, name, read, path in self._fields}
        custom_fields = self._object("custom_fields", values)
        verifications = self._read_verifications(values, custom_fields)
        for at, name, read, path in self._custom:
            value = values[at]
            if value is not None or name not in custom_fields:
                custom_fields[name] = read(value, path)
        identifier = strict.get("id")
        if identifier is None:
            raise InvalidLead("lead.id", "must be there and not be empty")
        full_name = fields.get("name")
        if not full_name and self._name_parts:
            parts = [as_text(values[at], "lead.name") for at in self._name_parts]
            full_name = " ".join(part.strip() for part in parts if isinstance(part, str))
        # By position: thirteen names would cost more than all that they name.
        return Lead(
            identifier,
            custom_fields,
            verifications,
            fields.get("email"),
            full_name or None,
            fields.get("phone"),
            fields.get("company"),
            fields.get("score"),
            fields.get("status", "qualified"),
            strict.get("created_at"),
            strict.get("qualified_at"),
            strict.get("list_id"),
            fields.get("list_name"),
        )

    def _read_verifications(
        self, values: Sequence[object], custom_fields: dict[str, JSON]
    ) -> dict[str, JSON]:
        verifications = dict(_UNVERIFIED)
        for name, form in self._object("verifications", values).items():
            # Snowflake and Oracle write names in capitals, within JSON as well.
            known = name if name in verifications else name.lower()
            if known in verifications:
                verifications[known] = _READ[known](form, _PATHS[known])
            else:
                custom_fields.setdefault(name, form)
        for at, name, read, path in self._verifications:
            value = values[at]
            if value is not None:
                verifications[name] = read(value, path)
        return verifications

    def _object(self, name: str, values: Sequence[object]) -> dict[str, JSON]:
        at = self._objects.get(name)
        return {} if at is None else as_object(values[at], f"lead.{name}")


def places_of(columns: Sequence[str], field_map: Mapping[str, str] | None = None) -> dict[str, str]:
    """
    Say where each column goes, as :class:`RowReader` reads it (Contract 8.9).

    :param columns: the query's column names
    :param field_map: column name to field of the contract
    :return: column name to path in the payload, such as ``lead.custom_fields.city``
    :raises ConfigurationError: naming field_map, see :meth:`FieldMap.columns`
    """
    places = FieldMap.parse(field_map).columns(columns)
    has_name = any(place.kind is Kind.FIELD and place.name == "name" for place in places)
    return {columns[place.index]: _path_of(place, has_name=has_name) for place in places}


def _path_of(place: Column, *, has_name: bool = True) -> str:
    match place.kind:
        case Kind.FIELD:
            return _PATHS.get(place.name, f"lead.{place.name}")
        case Kind.OBJECT:
            return f"lead.{place.name}, merged in"
        case Kind.NAME_PART if not has_name:
            return "lead.name"
        case Kind.VERIFICATION:
            return f"lead.verifications.{place.name}"
    return f"lead.custom_fields.{place.name}"


def read_row(row: Mapping[str, object], field_map: Mapping[str, str] | None = None) -> Lead:
    """
    Read one row given as a mapping; the rules are those of :class:`RowReader` (Contract 4.2).

    :param row: column name to value
    :param field_map: column name to field of the contract
    :raises InvalidLead: if this row cannot be a lead
    :raises ConfigurationError: naming field_map, if the columns cannot be told apart
    """
    # As text, so that a field_map that names no field is refused, and not unhashable.
    renamed = tuple((column, str(field)) for column, field in (field_map or {}).items())
    return _reader(tuple(row), renamed)(tuple(row.values()))


def read_lead(lead: Mapping[str, object]) -> Lead:
    """
    Read one lead given in the payload's own words (Contract 4.1).

    :param lead: the fields of the payload's ``lead``, and ``list`` with ``id`` and ``name``; other
        keys become custom fields, as in :func:`read_row`
    :raises InvalidLead: as :func:`read_row`, and if ``list`` is not of that shape
    """
    if not isinstance(lead, Mapping):
        raise InvalidLead("lead", "must be an object with the lead's fields")
    origin = lead.get("list")
    row = {name: value for name, value in lead.items() if name != "list"}
    if not all(isinstance(name, str) and name.strip() for name in row):
        raise InvalidLead("lead", "must have a text as the name of each field")
    if origin is not None:
        if not isinstance(origin, Mapping) or not origin.keys() <= {"id", "name"}:
            raise InvalidLead("list", "must be an object with id and name")
        if "list_id" in row or "list_name" in row:
            raise InvalidLead("list", "must be given once: as list, or as list_id and list_name")
        row |= {"list_id": origin.get("id"), "list_name": origin.get("name")}
    try:
        return read_row(row)
    except ConfigurationError as problem:  # a query's columns are its author's; these are the lead
        raise InvalidLead(
            "lead", f"has fields that cannot be told apart: {problem.problem}"
        ) from None


@lru_cache(maxsize=64)
def _reader(columns: tuple[str, ...], field_map: Iterable[tuple[str, str]]) -> RowReader:
    return RowReader(columns, dict(field_map))
