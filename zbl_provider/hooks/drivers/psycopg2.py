"""PostgreSQL with psycopg2."""

from __future__ import annotations

import json
import re
from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from zbl_provider.hooks.drivers.postgresql import NARROW, PostgreSql, from_latin1
from zbl_provider.leads.values import PaddedText, Undecodable

if TYPE_CHECKING:
    from collections.abc import Callable

    from zbl_provider.hooks.drivers.base import Row

_NARROW_OIDS = (1082, 1083, 1266, 1114, 1184, 1186, 114, 3802)
_ARRAY_OIDS = (1182, 1183, 1270, 1115, 1185, 1187, 199, 3807)
_RANGE_OIDS = (3904, 3906, 3908, 3910, 3912, 3926)
# Arrays of ranges, multiranges and records, and of uuid, money, bit, varbit, xml, macaddr8, point,
# lseg, path, polygon, line, circle, tsvector, pg_lsn, jsonpath: psycopg2 knows none of them.
_TEXT_ARRAY_OIDS = (
    *(2287, 3905, 3907, 3909, 3911, 3913, 3927, 6150, 6151, 6152, 6153, 6155, 6157),
    *(2951, 791, 1561, 1563, 143, 775, 1017, 1018, 1019, 1027, 629, 719, 3643, 3221, 4073),
)
# Arrays that psycopg2 reads by itself, but for those of the lists above.
_PLAIN_ARRAY_OIDS = (
    *(1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1015, 1016, 1021, 1022, 1028),
    *(1040, 1041, 1231, 651),
)
_BYTEA_OIDS = (17, 1001)
_JSON_OIDS = frozenset({114, 3802, 199, 3807})
# Of an array that does not begin at 1, such as [0:2]={7,8,9}.
_BOUNDS = re.compile(r"(?:\[[-+\d]+:[-+\d]+\])+=")


class Psycopg2(PostgreSql):
    """psycopg2."""

    def is_ascii(self, connection: Any) -> bool:
        """Tell whether the database is in SQL_ASCII."""
        encoding: str = connection.get_parameter_status("server_encoding")
        return encoding == "SQL_ASCII"

    def open_session(self, connection: Any, *, is_new: bool = True) -> None:
        """Ask for text in an encoding that loses none of it, too."""
        if is_new:  # setting it ends a transaction, and it lasts beyond one
            connection.set_client_encoding("LATIN1" if self.is_ascii(connection) else "UTF8")
        super().open_session(connection, is_new=is_new)

    def prepare(self, connection: Any) -> None:
        """Read values that Python has no type for as undecodable, and arrays as lists."""
        extensions = import_module("psycopg2.extensions")
        is_ascii = self.is_ascii(connection)
        arrays = {oid: extensions.string_types[oid] for oid in _PLAIN_ARRAY_OIDS}

        def register(
            oids: tuple[int, ...],
            array_oids: tuple[int, ...],
            name: str,
            cast: Callable[..., object],
        ) -> None:
            made = extensions.new_type(oids, f"ZBL_{name}", cast)
            extensions.register_type(made, connection)
            array = extensions.new_array_type(array_oids, f"ZBL_{name}s", made)
            arrays.update(dict.fromkeys(array_oids, array))

        for name, oid, array_oid in zip(NARROW, _NARROW_OIDS, _ARRAY_OIDS, strict=True):
            known = extensions.string_types.get(oid)
            cast = partial(_cast_leniently, known, name, is_ascii=is_ascii)
            register((oid,), (array_oid,), name, cast)
        register(_RANGE_OIDS, _TEXT_ARRAY_OIDS, "text", lambda text, _cursor: text)
        register((1042,), (1014,), "char", lambda text, _: text and PaddedText(text))
        for oid, array in arrays.items():
            # Without its bounds, of which psycopg2 understands a single dimension.
            made = extensions.new_type((oid,), f"ZBL_array_{oid}", partial(_cast_array, array))
            extensions.register_type(array if is_ascii else made, connection)

    def values(self, cursor: Any) -> Callable[[Row], Row]:
        """Read bytea as bytes rather than as memory, and text without an encoding."""
        is_ascii = self.is_ascii(cursor.connection)
        readers: list[tuple[int, Callable[[Any], object]]] = []
        for at, column in enumerate(cursor.description):
            if column[1] in _BYTEA_OIDS:
                readers.append((at, _as_bytes))
            elif is_ascii and column[1] not in _JSON_OIDS:  # JSON is decoded before it is parsed
                readers.append((at, from_latin1))
        if not readers:
            return super().values(cursor)

        def read(row: Row) -> Row:
            values = list(row)
            for at, reader in readers:
                values[at] = reader(values[at])
            return tuple(values)

        return read


def _cast_leniently(
    cast: Any,
    kind: str,
    text: str | None,
    cursor: Any,
    *,
    is_ascii: bool,
) -> object:
    if text is None:
        return None
    # psycopg2 makes infinity the last moment that Python knows, and the time 24:00 midnight; as an
    # interval that is a day.
    if text.endswith("infinity") or (text.startswith("24:00") and kind != "interval"):
        return Undecodable(kind, text.encode())
    is_json = kind.startswith("json")
    if cast is None and not is_json:
        return text
    try:
        if is_json and (is_ascii or cast is None):
            value: object = json.loads(from_latin1(text) if is_ascii else text)
        else:
            value = cast(text, cursor)
    except Exception:  # noqa: BLE001  whatever it is, only this row shall suffer
        return Undecodable(kind, text.encode())
    return value


def _cast_array(cast: Any, text: str | None, cursor: Any) -> object:
    if text is None:
        return None
    try:
        value: object = cast(_BOUNDS.sub("", text, count=1) if text[0] == "[" else text, cursor)
    except Exception:  # noqa: BLE001  whatever it is, only this row shall suffer
        return Undecodable("array", text.encode())
    return value


def _as_bytes(value: Any) -> object:
    if isinstance(value, list):
        return [_as_bytes(item) for item in value]
    return bytes(value) if isinstance(value, memoryview) else value
