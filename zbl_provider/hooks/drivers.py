"""
How the leads of each database are read: streamed, in UTC, and leniently (Contract 4.9 and 6.5).

DB-API (PEP 249) leaves to each driver whether a result is held in memory, which zone a time is in,
and what becomes of a value that Python has no type for. What differs is here, by the name of the
driver's package. A driver that is not named is used as PEP 249 says, without what it calls
optional.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
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
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# LOCAL ends with the transaction: behind a pooler the next client gets the session as it was.
_POSTGRES_SESSION = (
    "SET LOCAL TIME ZONE 'UTC'",
    "SET LOCAL datestyle TO 'ISO'",
    "SET LOCAL intervalstyle TO 'postgres'",
)


def _same(row: Row) -> Row:
    return row


def _plain_cursor(connection: Any) -> Any:  # noqa: ANN401  PEP 249 names no types
    return connection.cursor()


@dataclass(frozen=True, slots=True)
class Driver:
    """
    What is particular about a driver.

    :param session: statements that each new connection runs first
    :param best_effort: a statement of ``session`` that fails is logged, and reading goes on
    :param prepare: sets how the values of a connection are read
    :param cursor: opens a cursor that does not hold the whole result in memory
    :param abandon: lets go of a result that was not read to its end, before the connection closes
    :param values: gives what reads the values of a row, from the cursor once it has columns
    """

    session: tuple[str, ...] = ()
    best_effort: bool = True
    prepare: Callable[[Any], None] = lambda _connection: None
    cursor: Callable[[Any], Any] = _plain_cursor
    abandon: Callable[[Any], None] = lambda _connection: None
    values: Callable[[Any], Callable[[Row], Row]] = lambda _cursor: _same


def driver_of(connection: object) -> Driver:
    """Find what is particular about a connection's driver."""
    return _DRIVERS.get(package_of(connection), Driver())


def package_of(connection: object) -> str:
    """Name the package that a connection's class comes from, such as ``psycopg``."""
    return type(connection).__module__.partition(".")[0]


def open_session(connection: Any, driver: Driver) -> None:  # noqa: ANN401  PEP 249 names no types
    """Bring a new connection to UTC, and have it read values leniently."""
    for statement in driver.session:
        try:
            _execute(connection, statement)
        except Exception as problem:
            if not driver.best_effort:
                raise
            logger.warning("The leads' database refused %r (%s).", statement, type(problem))
    driver.prepare(connection)


def _execute(connection: Any, statement: str) -> None:  # noqa: ANN401  PEP 249 names no types
    cursor = connection.cursor()
    try:
        cursor.execute(statement)
    finally:
        cursor.close()


def _prepare_psycopg(connection: Any) -> None:  # noqa: ANN401  psycopg is optional
    from psycopg.types.string import TextLoader

    ascii_only = connection.info.parameter_status("client_encoding") == "SQL_ASCII"
    text = _utf8_loader() if ascii_only else TextLoader
    adapters = connection.adapters
    for name in _NARROW:
        oid = adapters.types[name].oid
        adapters.register_loader(oid, _lenient_loader(adapters.get_loader(oid, 0), name))
    for name in _RANGES:
        adapters.register_loader(f"{name}range", text)
        adapters.register_loader(f"{name}multirange", text)
    if ascii_only:
        for oid in _TEXT_OIDS:
            adapters.register_loader(oid, text)
    adapters.register_loader("bpchar", _padded_loader(text))


def _lenient_loader(strict: Any, kind: str) -> Any:  # noqa: ANN401  psycopg is optional
    from psycopg.adapt import Loader

    class Lenient(Loader):
        def __init__(self, oid: int, context: Any = None) -> None:  # noqa: ANN401
            super().__init__(oid, context)
            self._load = strict(oid, context).load

        def load(self, data: Any) -> object:  # noqa: ANN401  bytes of several kinds
            try:
                value: object = self._load(data)
            except Exception:  # noqa: BLE001  whatever it is, only this row shall suffer
                return Undecodable(kind, bytes(data))
            return value

    return Lenient


def _utf8_loader() -> Any:  # noqa: ANN401  psycopg is optional
    from psycopg.adapt import Loader

    class Utf8(Loader):
        def load(self, data: Any) -> str:  # noqa: ANN401  bytes of several kinds
            return bytes(data).decode("utf-8", "surrogateescape")

    return Utf8


def _padded_loader(text: Any) -> Any:  # noqa: ANN401  psycopg is optional
    class Padded(text):  # type: ignore[misc]
        def load(self, data: Any) -> PaddedText:  # noqa: ANN401  bytes of several kinds
            return PaddedText(super().load(data))

    return Padded


def _prepare_psycopg2(connection: Any) -> None:  # noqa: ANN401  psycopg2 is optional
    extensions = import_module("psycopg2.extensions")
    for name, oid, array in zip(_NARROW, _NARROW_OIDS, _ARRAY_OIDS, strict=True):
        cast = partial(_cast_leniently, extensions.string_types.get(oid), name)
        lenient = extensions.new_type((oid,), f"ZBL_{name}", cast)
        extensions.register_type(lenient, connection)
        arrays = extensions.new_array_type((array,), f"ZBL_{name}s", lenient)
        extensions.register_type(arrays, connection)
    as_text = extensions.new_type(_RANGE_OIDS, "ZBL_range", lambda text, _cursor: text)
    extensions.register_type(as_text, connection)
    if connection.encoding in {"SQLASCII", "SQL_ASCII"}:
        extensions.register_type(extensions.BYTES, connection)
    else:
        padded = extensions.new_type((1042,), "ZBL_char", _padded)
        extensions.register_type(padded, connection)


def _cast_leniently(cast: Any, kind: str, text: str | None, cursor: Any) -> object:  # noqa: ANN401
    if text is None:
        return None
    # psycopg2 makes infinity the last moment that Python knows, and 24:00 midnight.
    if text.endswith("infinity") or text.startswith("24:00"):
        return Undecodable(kind, text.encode())
    try:
        value: object = _cast(cast, kind)(text, cursor)
    except Exception:  # noqa: BLE001  whatever it is, only this row shall suffer
        return Undecodable(kind, text.encode())
    return value


def _padded(text: str | None, _cursor: object) -> PaddedText | None:
    return None if text is None else PaddedText(text)


def _cast(cast: Any, kind: str) -> Any:  # noqa: ANN401  psycopg2 is optional
    if cast is not None:
        return cast
    if kind.startswith("json"):
        return lambda text, _cursor: import_module("json").loads(text)
    return lambda text, _cursor: text


def _psycopg2_values(cursor: Any) -> Callable[[Row], Row]:  # noqa: ANN401  psycopg2 is optional
    if cursor.connection.encoding not in {"SQLASCII", "SQL_ASCII"}:
        return _same
    # Text comes as bytes there; bytea comes as memoryview.
    return lambda row: [
        value.decode("utf-8", "surrogateescape") if type(value) is bytes else value for value in row
    ]


def _prepare_sqlite(connection: Any) -> None:  # noqa: ANN401  PEP 249 names no types
    # What is not UTF-8 becomes lone surrogates, which no payload may hold: its row is invalid.
    connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")


def _prepare_mysqldb(connection: Any) -> None:  # noqa: ANN401  mysqlclient is optional
    _read_days(import_module("MySQLdb.constants.FIELD_TYPE"), connection.converter)


def _prepare_pymysql(connection: Any) -> None:  # noqa: ANN401  PyMySQL is optional
    connection.decoders = dict(connection.decoders)  # its own are those of every connection
    _read_days(import_module("pymysql.constants.FIELD_TYPE"), connection.decoders)


def _read_days(kinds: Any, readers: dict[int, Any]) -> None:  # noqa: ANN401  a module's numbers
    for name in ("DATE", "DATETIME", "TIMESTAMP"):
        kind = getattr(kinds, name)
        readers[kind] = partial(_read_mysql_time, readers[kind], name)


def _prepare_mysql_connector(connection: Any) -> None:  # noqa: ANN401  it is optional
    conversion = import_module("mysql.connector.conversion")
    strict = conversion.MySQLConverter
    if type(connection).__name__ != "MySQLConnection" or connection.converter_class is not strict:
        return  # the C extension converts by itself

    def lenient(name: str) -> Any:  # noqa: ANN401
        read = getattr(strict, f"_{name.lower()}_to_python")
        return staticmethod(lambda value, _column=None: _read_mysql_time(read, name, value))

    methods = {f"_{n.lower()}_to_python": lenient(n) for n in ("DATE", "DATETIME", "TIMESTAMP")}
    connection.converter_class = type("Lenient", (strict,), methods)


def _read_mysql_time(read: Callable[[Any], object], kind: str, data: Any) -> object:  # noqa: ANN401
    """
    Read a date or time of MySQL, for which its clients have None if there is no such day.

    0000-00-00 is MySQL's own way to say none; 2026-02-00, or 2026-02-31, is a value.
    """
    value = read(data)
    if value is not None and not isinstance(value, str):  # PyMySQL gives the text
        return value
    text = data.encode() if isinstance(data, str) else bytes(data)
    return None if text.startswith(b"0000-00-00") else Undecodable(kind, text)


def _named_cursor(connection: Any) -> Any:  # noqa: ANN401  PEP 249 names no types
    """Ask PostgreSQL for a server-side cursor: its ordinary one fetches the whole result."""
    return connection.cursor(name="zbl_leads")


def _unbuffered(module: str, connection: Any) -> Any:  # noqa: ANN401  PEP 249 names no types
    return connection.cursor(import_module(module).SSCursor)


def _abandon_pymysql(connection: Any) -> None:  # noqa: ANN401  PEP 249 names no types
    """Keep a result that is thrown away from being read to its end on a closed socket."""
    connection._result.unbuffered_active = False  # noqa: SLF001  there is no public way


def _read_lobs(_cursor: object) -> Callable[[Row], Row]:
    """Fetch the text or bytes of Oracle's LOBs, which come as handles."""

    def read(value: Any) -> object:  # noqa: ANN401  whatever a column holds
        return value.read() if type(value).__name__ == "LOB" else value

    return lambda row: [read(value) for value in row]


def _read_epochs(cursor: Any) -> Callable[[Row], Row]:  # noqa: ANN401  PEP 249 names no types
    """Read BigQuery's TIMESTAMP, which Airflow's cursor gives as seconds since 1970."""
    kinds = [column[1] for column in cursor.description]
    if "TIMESTAMP" not in kinds:
        return _same
    return lambda row: [
        _from_epoch(value) if kind == "TIMESTAMP" and isinstance(value, float) else value
        for kind, value in zip(kinds, row, strict=True)
    ]


def _from_epoch(seconds: float) -> object:
    with suppress(OverflowError, ValueError):
        return _EPOCH + timedelta(seconds=seconds)
    return Undecodable("TIMESTAMP", str(seconds).encode())


# A server gives up a client that does not read for a minute; a slow destination may take longer.
_MYSQL_SESSION = ("SET time_zone = '+00:00'", "SET net_write_timeout = 3600")

_DRIVERS: dict[str, Driver] = {
    "psycopg": Driver(
        _POSTGRES_SESSION, best_effort=False, prepare=_prepare_psycopg, cursor=_named_cursor
    ),
    "psycopg2": Driver(
        _POSTGRES_SESSION,
        best_effort=False,
        prepare=_prepare_psycopg2,
        cursor=_named_cursor,
        values=_psycopg2_values,
    ),
    "sqlite3": Driver(prepare=_prepare_sqlite),
    "MySQLdb": Driver(
        _MYSQL_SESSION,
        prepare=_prepare_mysqldb,
        cursor=partial(_unbuffered, "MySQLdb.cursors"),
    ),
    "pymysql": Driver(
        _MYSQL_SESSION,
        prepare=_prepare_pymysql,
        cursor=partial(_unbuffered, "pymysql.cursors"),
        abandon=_abandon_pymysql,
    ),
    "mysql": Driver(
        _MYSQL_SESSION,
        prepare=_prepare_mysql_connector,
        cursor=lambda connection: connection.cursor(buffered=False),
    ),
    "duckdb": Driver(("SET TimeZone = 'UTC'",)),
    "_duckdb": Driver(("SET TimeZone = 'UTC'",)),
    "snowflake": Driver(("ALTER SESSION SET TIMEZONE = 'UTC'",)),
    "oracledb": Driver(("ALTER SESSION SET TIME_ZONE = 'UTC'",), values=_read_lobs),
    "redshift_connector": Driver(("SET timezone TO 'UTC'",)),
    "databricks": Driver(("SET TIME ZONE 'UTC'",)),
    "airflow": Driver(values=_read_epochs),
}
