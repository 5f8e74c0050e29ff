"""PostgreSQL with psycopg, version 3."""

from __future__ import annotations

import re
from typing import Any, Final

from zbl_provider.hooks.drivers.postgresql import NARROW, PostgreSql
from zbl_provider.leads.values import PaddedText, Undecodable

_RANGES = ("int4", "int8", "num", "date", "ts", "tstz")
# text, varchar, name, "char", xml, unknown; 0 for types of the database's own, such as enums.
_TEXT_OIDS = (25, 1043, 19, 18, 142, 705, 0)
# An infinite interval is no time at all to psycopg, and of so many years it loses count.
_BEYOND: Final = re.compile(rb"infinity|(?:[3-9]\d{6}|\d{8,}) years?")


class Psycopg(PostgreSql):
    """psycopg, version 3."""

    def is_ascii(self, connection: Any) -> bool:
        """Tell whether the database is in SQL_ASCII."""
        encoding: str = connection.info.parameter_status("server_encoding")
        return encoding == "SQL_ASCII"

    def open_session(self, connection: Any, *, is_new: bool = True) -> None:
        """Ask for text in an encoding that loses none of it, too."""
        encoding = "LATIN1" if self.is_ascii(connection) else "UTF8"
        if connection.info.parameter_status("client_encoding") != encoding:
            connection.execute(f"SET LOCAL client_encoding TO '{encoding}'")
        super().open_session(connection, is_new=is_new)

    def prepare(self, connection: Any) -> None:
        """Read values that Python has no type for as undecodable, and text without an encoding."""
        from psycopg.adapt import Loader
        from psycopg.types.string import TextLoader

        class Utf8(Loader):
            def load(self, data: Any) -> str:  # bytes of several kinds
                return bytes(data).decode("utf-8", "surrogateescape")

        is_ascii = self.is_ascii(connection)
        text: Any = Utf8 if is_ascii else TextLoader

        class Padded(text):  # type: ignore[misc]  # a variable as base
            def load(self, data: Any) -> PaddedText:  # bytes of several kinds
                return PaddedText(super().load(data))

        adapters = connection.adapters
        for name in NARROW:
            oid = adapters.types[name].oid
            adapters.register_loader(oid, _lenient_loader(adapters.get_loader(oid, 0), name))
        for name in _RANGES:
            adapters.register_loader(f"{name}range", text)
            adapters.register_loader(f"{name}multirange", text)
        adapters.register_loader("record", text)  # psycopg makes it texts, whatever it holds
        if is_ascii:
            for oid in _TEXT_OIDS:
                adapters.register_loader(oid, text)
        adapters.register_loader("bpchar", Padded)


def _lenient_loader(strict: Any, kind: str) -> Any:
    from psycopg.adapt import Loader

    class Lenient(Loader):
        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._load = strict(oid, context).load

        def load(self, data: Any) -> object:  # bytes of several kinds
            if kind == "interval" and _BEYOND.search(bytes(data)):
                return Undecodable(kind, bytes(data))
            try:
                value: object = self._load(data)
            except Exception:  # noqa: BLE001  whatever it is, only this row shall suffer
                return Undecodable(kind, bytes(data))
            return value

    return Lenient
