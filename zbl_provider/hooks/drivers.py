"""
How the leads of each database are read: streamed, in UTC, and leniently (Contract 4.9 and 6.5).

DB-API (PEP 249) leaves to each driver whether a result is held in memory, which zone a time is in,
and what becomes of a value that Python has no type for. What differs is here, by the name of the
driver's package. A driver that is not named is used as PEP 249 says, without what it calls
optional.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

from zbl_provider.leads.values import PaddedText, Undecodable

logger = logging.getLogger(__name__)

Row: TypeAlias = Sequence[object]

# Types of PostgreSQL that hold values which Python's own types can't (infinity, BC, 24:00).
_NARROW = ("date", "time", "timetz", "timestamp", "timestamptz", "interval", "json", "jsonb")
_RANGES = ("int4", "int8", "num", "date", "ts", "tstz")
# text, varchar, name, "char", xml, unknown; 0 for types of the database's own, such as enums.
_TEXT_OIDS = (25, 1043, 19, 18, 142, 705, 0)
_NARROW_OIDS = (1082, 1083, 1266, 1114, 1184, 1186, 114, 3802)
_ARRAY_OIDS = (1182, 1183, 1270, 1115, 1185, 1187, 199, 3807)
_RANGE_OIDS = (3904, 3906, 3908, 3910, 3912, 3926)
# Arrays of ranges and multiranges, and of uuid, money, bit, varbit, xml, macaddr8, point, lseg,
# path, polygon, line, circle, tsvector, pg_lsn, jsonpath: psycopg2 knows none of them.
_TEXT_ARRAY_OIDS = (
    *(3905, 3907, 3909, 3911, 3913, 3927, 6150, 6151, 6152, 6153, 6155, 6157),
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
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_INFINITE = (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC))


class Driver:
    """
    A driver that is not named here; what is particular about the others overrides this.

    Of connections, cursors and values there are no types: PEP 249 names none, and the drivers are
    optional.

    :ivar session: statements that each new connection runs first
    :ivar best_effort: a statement of ``session`` that fails is logged, and reading goes on
    :ivar keeps: a connection may rest between two queries: it keeps nobody out, and the next query
        sees what was committed meanwhile once its transaction is rolled back
    """

    session: tuple[str, ...] = ()
    best_effort: bool = True
    keeps: bool = False

    def open_session(self, connection: Any, *, is_new: bool = True) -> None:
        """Bring a connection to UTC, and have a new one read values leniently."""
        for statement in self.session:
            try:
                with closing(connection.cursor()) as cursor:
                    cursor.execute(statement)
            except Exception as problem:
                if not self.best_effort:
                    raise
                logger.warning("The leads' database refused %r (%s).", statement, type(problem))
        if is_new:
            self.prepare(connection)

    def prepare(self, connection: Any) -> None:
        """Set how the values of a connection are read."""

    def cursor(self, connection: Any) -> Any:
        """Open a cursor that does not hold the whole result in memory."""
        return connection.cursor()

    def abandon(self, connection: Any) -> None:
        """Let go of a result that was not read to its end, before the connection closes."""

    def written(self, connection: Any, value: Any) -> Any:  # noqa: ARG002  other databases need it
        """Write a statement, or its parameters, as the database's encoding asks for it."""
        return value

    def columns(self, cursor: Any) -> list[str]:
        """Name the columns of a cursor that has some."""
        return [column[0] for column in cursor.description]

    def values(self, cursor: Any) -> Callable[[Row], Row]:  # noqa: ARG002  other databases need it
        """Give what reads the values of a row, from a cursor that has its columns."""
        return lambda row: row


class PostgreSql(Driver):
    """
    What both clients of PostgreSQL share.

    A database in SQL_ASCII has no encoding: it gives whatever bytes were put in. They come through
    as LATIN1, in which each byte is a character, and are UTF-8; what is not is told by its row.
    """

    # LOCAL ends with the transaction: behind a pooler the next client gets the session as it was.
    session = (
        "SET LOCAL TIME ZONE 'UTC'",
        "SET LOCAL datestyle TO 'ISO'",
        "SET LOCAL intervalstyle TO 'postgres'",
    )
    best_effort = False
    keeps = True

    def cursor(self, connection: Any) -> Any:
        """Ask for a server-side cursor: the ordinary one fetches the whole result."""
        return connection.cursor(name="zbl_leads")

    def written(self, connection: Any, value: Any) -> Any:
        """Have the bytes of UTF-8 go through unchanged, where the database has no encoding."""
        return _through_latin1(value) if self.is_ascii(connection) else value

    def columns(self, cursor: Any) -> list[str]:
        """Name the columns, whose names have no encoding either."""
        names = super().columns(cursor)
        return [_from_latin1(name) for name in names] if self.is_ascii(cursor.connection) else names

    def is_ascii(self, connection: Any) -> bool:
        """Tell whether the database is in SQL_ASCII."""
        raise NotImplementedError


class Psycopg(PostgreSql):
    """psycopg, the third edition."""

    def is_ascii(self, connection: Any) -> bool:
        """Tell whether the database is in SQL_ASCII."""
        encoding: str = connection.info.parameter_status("server_encoding")
        return encoding == "SQL_ASCII"

    def open_session(self, connection: Any, *, is_new: bool = True) -> None:
        """Have text come in an encoding in which none is lost, too."""
        encoding = "LATIN1" if self.is_ascii(connection) else "UTF8"
        if connection.info.parameter_status("client_encoding") != encoding:
            connection.execute(f"SET LOCAL client_encoding TO '{encoding}'")
        super().open_session(connection, is_new=is_new)

    def prepare(self, connection: Any) -> None:
        """Read what Python has no value for as undecodable, and text that has no encoding."""
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
        for name in _NARROW:
            oid = adapters.types[name].oid
            adapters.register_loader(oid, _lenient_loader(adapters.get_loader(oid, 0), name))
        for name in _RANGES:
            adapters.register_loader(f"{name}range", text)
            adapters.register_loader(f"{name}multirange", text)
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
            try:
                value: object = self._load(data)
            except Exception:  # noqa: BLE001  whatever it is, only this row shall suffer
                return Undecodable(kind, bytes(data))
            return value

    return Lenient


class Psycopg2(PostgreSql):
    """psycopg2."""

    def is_ascii(self, connection: Any) -> bool:
        """Tell whether the database is in SQL_ASCII."""
        encoding: str = connection.get_parameter_status("server_encoding")
        return encoding == "SQL_ASCII"

    def open_session(self, connection: Any, *, is_new: bool = True) -> None:
        """Have text come in an encoding in which none is lost, too."""
        if is_new:  # which ends a transaction, and is none of its settings
            connection.set_client_encoding("LATIN1" if self.is_ascii(connection) else "UTF8")
        super().open_session(connection, is_new=is_new)

    def prepare(self, connection: Any) -> None:
        """Read what Python has no value for as undecodable, and arrays as what they hold."""
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

        for name, oid, array_oid in zip(_NARROW, _NARROW_OIDS, _ARRAY_OIDS, strict=True):
            known = extensions.string_types.get(oid)
            cast = partial(_cast_leniently, known, name, is_ascii=is_ascii)
            register((oid,), (array_oid,), name, cast)
        register(_RANGE_OIDS, _TEXT_ARRAY_OIDS, "text", lambda text, _cursor: text)
        register((1042,), (1014,), "char", _cast_padded)
        for oid, array in arrays.items():
            # Read with its bounds taken away, in which psycopg2 knows one dimension alone.
            made = extensions.new_type((oid,), f"ZBL_array_{oid}", partial(_cast_array, array))
            extensions.register_type(array if is_ascii else made, connection)

    def values(self, cursor: Any) -> Callable[[Row], Row]:
        """Read bytea as bytes, which tell what they hold, and text that has no encoding."""
        is_ascii = self.is_ascii(cursor.connection)
        readers: list[tuple[int, Callable[[Any], object]]] = []
        for at, column in enumerate(cursor.description):
            if column[1] in _BYTEA_OIDS:
                readers.append((at, _as_bytes))
            elif is_ascii and column[1] not in _JSON_OIDS:  # whose texts may be escaped
                readers.append((at, _from_latin1))
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
    # psycopg2 makes infinity the last moment that Python knows, and 24:00 midnight.
    if text.endswith("infinity") or text.startswith("24:00"):
        return Undecodable(kind, text.encode())
    is_json = kind.startswith("json")
    if cast is None and not is_json:
        return text
    try:
        if is_json and (is_ascii or cast is None):
            value: object = json.loads(_from_latin1(text) if is_ascii else text)
        else:
            value = cast(text, cursor)
    except Exception:  # noqa: BLE001  whatever it is, only this row shall suffer
        return Undecodable(kind, text.encode())
    return value


def _cast_padded(text: str | None, _cursor: object) -> PaddedText | None:
    return None if text is None else PaddedText(text)


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


def _from_latin1(value: Any) -> Any:
    """Read text as UTF-8 whose bytes came as characters."""
    if isinstance(value, list):
        return [_from_latin1(item) for item in value]
    if not isinstance(value, str):
        return value
    return type(value)(value.encode("latin-1").decode("utf-8", "surrogateescape"))


def _through_latin1(value: Any) -> Any:
    """Make each byte of a text in UTF-8 a character."""
    if isinstance(value, str):
        return value.encode().decode("latin-1")
    if isinstance(value, Mapping):
        return {_through_latin1(name): _through_latin1(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)([_through_latin1(item) for item in value])
    return value


class Sqlite(Driver):
    """Python's own sqlite3."""

    keeps = True

    def prepare(self, connection: Any) -> None:
        """Make what is not UTF-8 lone surrogates, which no payload may hold: a row is invalid."""
        connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")


class MySql(Driver):
    """What the clients of MySQL and MariaDB share."""

    # A server gives up a client that does not read for a minute; a destination may take longer.
    session = ("SET time_zone = '+00:00'", "SET net_write_timeout = 3600")
    keeps = True

    def read_days(self, kinds: Any, readers: dict[int, Any]) -> None:
        """
        Have a client read dates that no calendar has, such as 2026-02-00, and bits.

        :param kinds: the client's module of the numbers of types
        :param readers: what it reads each type with
        """
        for name in ("DATE", "DATETIME", "TIMESTAMP"):
            kind = getattr(kinds, name)
            readers[kind] = partial(self.read_time, readers[kind], name)
        readers[kinds.BIT] = self.read_bits  # as mysql-connector does

    @staticmethod
    def read_bits(data: Any) -> int:
        """Read BIT as the number that it is: BIT(1) is many a program's boolean."""
        return int.from_bytes(bytes(data), "big")

    @staticmethod
    def read_time(read: Callable[[Any], object], kind: str, data: Any) -> object:
        """
        Read a date or time, for which the clients have None if there is no such day.

        0000-00-00 is MySQL's own way to say none; 2026-02-00, or 2026-02-31, is a value.

        :param read: what the client reads it with
        :param kind: the name of its type
        :param data: text or bytes as they came
        """
        value = read(data)
        if value is not None and not isinstance(value, str):  # PyMySQL gives the text
            return value
        text = data.encode() if isinstance(data, str) else bytes(data)
        return None if text.startswith(b"0000-00-00") else Undecodable(kind, text)


class MySqlDb(MySql):
    """mysqlclient, whose module is MySQLdb."""

    def prepare(self, connection: Any) -> None:
        """Read dates that no calendar has, too."""
        self.read_days(import_module("MySQLdb.constants.FIELD_TYPE"), connection.converter)

    def cursor(self, connection: Any) -> Any:
        """Open an unbuffered cursor."""
        return connection.cursor(import_module("MySQLdb.cursors").SSCursor)


class PyMySql(MySql):
    """PyMySQL."""

    def prepare(self, connection: Any) -> None:
        """Read dates that no calendar has, too."""
        connection.decoders = dict(connection.decoders)  # its own are those of every connection
        self.read_days(import_module("pymysql.constants.FIELD_TYPE"), connection.decoders)

    def cursor(self, connection: Any) -> Any:
        """Open an unbuffered cursor."""
        return connection.cursor(import_module("pymysql.cursors").SSCursor)

    def abandon(self, connection: Any) -> None:
        """Keep a result that is thrown away from being read to its end on a closed socket."""
        connection._result.unbuffered_active = False  # noqa: SLF001  there is no public way


class MySqlConnector(MySql):
    """mysql-connector-python, written in Python; its C extension converts by itself."""

    def prepare(self, connection: Any) -> None:
        """Read dates that no calendar has, too."""
        strict = import_module("mysql.connector.conversion").MySQLConverter
        in_python = type(connection).__name__ == "MySQLConnection"
        if not in_python or connection.converter_class is not strict:
            return

        def lenient(name: str) -> Any:
            read = getattr(strict, f"_{name.lower()}_to_python")
            return staticmethod(lambda value, _column=None: self.read_time(read, name, value))

        methods = {f"_{n.lower()}_to_python": lenient(n) for n in ("DATE", "DATETIME", "TIMESTAMP")}
        connection.converter_class = type("Lenient", (strict,), methods)

    def cursor(self, connection: Any) -> Any:
        """Open an unbuffered cursor."""
        return connection.cursor(buffered=False)


class DuckDb(Driver):
    """DuckDB, whose infinity comes as the first or the last moment that Python knows."""

    session = ("SET TimeZone = 'UTC'",)

    def values(self, cursor: Any) -> Callable[[Row], Row]:
        """Tell infinity from a time; it may stand in a list, a struct or a map, too."""
        kinds = [str(column[1]) for column in cursor.description]
        moments = [at for at, kind in enumerate(kinds) if "TIMESTAMP" in kind or "DATETIME" in kind]
        if not moments:
            return super().values(cursor)

        def read(row: Row) -> Row:
            values = list(row)
            for at in moments:
                values[at] = _finite(values[at])
            return tuple(values)

        return read


def _finite(value: Any) -> Any:
    if isinstance(value, datetime):
        is_infinite = value.replace(tzinfo=UTC) in _INFINITE
        return Undecodable("TIMESTAMP (infinity)", str(value).encode()) if is_infinite else value
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {_finite(key): _finite(item) for key, item in value.items()}
    return value


class InUtc(Driver):
    """
    A driver about which nothing is particular but how its session is brought to UTC.

    :param statement: does so
    """

    def __init__(self, statement: str) -> None:
        self.session = (statement,)


class Oracle(Driver):
    """python-oracledb."""

    session = ("ALTER SESSION SET TIME_ZONE = 'UTC'",)

    def values(self, cursor: Any) -> Callable[[Row], Row]:  # noqa: ARG002  other databases need it
        """Fetch the text or bytes of LOBs, which come as handles."""

        def read(value: Any) -> object:
            return value.read() if type(value).__name__ == "LOB" else value

        return lambda row: [read(value) for value in row]


class BigQuery(Driver):
    """Airflow's own cursor for Google BigQuery."""

    def values(self, cursor: Any) -> Callable[[Row], Row]:
        """Read TIMESTAMP, which comes as seconds since 1970."""
        kinds = [column[1] for column in cursor.description]
        if "TIMESTAMP" not in kinds:
            return super().values(cursor)

        def read(kind: str, value: object) -> object:
            if kind != "TIMESTAMP" or not isinstance(value, float):
                return value
            with suppress(OverflowError, ValueError):
                return _EPOCH + timedelta(seconds=value)
            return Undecodable("TIMESTAMP", str(value).encode())

        return lambda row: [read(kind, value) for kind, value in zip(kinds, row, strict=True)]


_OTHER = Driver()
_DRIVERS: Mapping[str, Driver] = {
    "psycopg": Psycopg(),
    "psycopg2": Psycopg2(),
    "sqlite3": Sqlite(),
    "MySQLdb": MySqlDb(),
    "pymysql": PyMySql(),
    "mysql": MySqlConnector(),
    "duckdb": DuckDb(),
    "_duckdb": DuckDb(),
    "snowflake": InUtc("ALTER SESSION SET TIMEZONE = 'UTC'"),
    "oracledb": Oracle(),
    "redshift_connector": InUtc("SET timezone TO 'UTC'"),
    "databricks": InUtc("SET TIME ZONE 'UTC'"),
    "airflow": BigQuery(),
}


def driver_of(connection: object) -> Driver:
    """Find what is particular about a connection's driver."""
    return _DRIVERS.get(package_of(connection), _OTHER)


def package_of(connection: object) -> str:
    """Name the package that a connection's class comes from, such as ``psycopg``."""
    return type(connection).__module__.partition(".")[0]
