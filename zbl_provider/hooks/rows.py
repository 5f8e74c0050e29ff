"""The rows of a query, streamed through any DB-API connection that Airflow has (Contract 4.2)."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from zbl_provider.driver_errors import has_code, told, told_whole
from zbl_provider.exceptions import ConfigurationError, LeadsDatabaseError
from zbl_provider.hooks.connections import find_connection
from zbl_provider.hooks.drivers import driver_of, package_of
from zbl_provider.hooks.statement import check_statement, no_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from airflow.providers.common.sql.hooks.sql import DbApiHook

    from zbl_provider.hooks.drivers import Driver

_FIRST_ROWS, _ROWS_AT_ONCE = 50, 1000
_BYTES_AT_ONCE = 8 * 2**20  # about: some tables hold a document in each row
_SAMPLE = 10
_LAST_MARKS = re.compile(r"(?:;\s*){2,}\Z")
_PLACEHOLDERS = (
    "; look at placeholders and parameters: PostgreSQL and MySQL have %s and %(name)s, with each "
    "other percent sign written %%; SQLite and DuckDB have ?"
)
_POSTGRESQL = frozenset({"psycopg", "psycopg2"})
_SECRET_KEYS = frozenset({"password", "passwd", "secret", "token", "key", "keyfile"})
_PACKAGES = {
    "postgres": "airflow-provider-zbl[postgres]",
    "sqlite": "airflow-provider-zbl[sqlite]",
    "mysql": "airflow-provider-zbl[mysql]",
    "mssql": "apache-airflow-providers-microsoft-mssql",
    "gcpbigquery": "apache-airflow-providers-google",
}


class Rows:
    """
    The rows of one query; the database is asked when they are iterated.

    The query goes straight to a cursor, since `DbApiHook.run` writes its parameters to the log.

    :param conn_id: connection of the database
    :param sql: the query; one statement
    :param parameters: bound by the driver, in its own style of placeholders
    :param check: called with the names of the columns before any row, and where there is none
    :param keep: iterated again and again, they come over one connection where its driver allows
        that; `close` closes it
    :raises ConfigurationError: if the connection is no database, or the statement is no query
    """

    def __init__(
        self,
        conn_id: str,
        sql: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
        check: Callable[[Sequence[str]], object] = lambda _columns: None,
        *,
        keep: bool = False,
    ) -> None:
        check_statement(sql)
        _check_parameters(parameters)
        self._conn_id = conn_id
        self._hook = database(conn_id)
        # Files of Windows begin with the mark; SQLite takes a second ; for another statement.
        self._sql = _LAST_MARKS.sub(";", sql.removeprefix("\ufeff"))
        self._parameters = parameters
        self._check = check
        self._keep = keep
        self._kept: Any = None
        self._has_run = True

    def __iter__(self) -> Iterator[tuple[list[str], Sequence[object]]]:
        """
        Yield the names of the columns and the values of each row, some hundreds in memory.

        :raises LeadsDatabaseError: if the database fails, in place of the driver's own error,
            which may quote rows
        :raises ConfigurationError: naming sql, if the statement gives no columns
        """
        connection, self._kept = self._kept, None
        is_new = connection is None
        if is_new:
            connection = self._connect()
        try:
            yield from self._fetched(connection, is_new=is_new)
            if self._keep and driver_of(connection).keeps:
                # So that the next look sees what is committed then, and no lock is left.
                with suppress(Exception):
                    connection.rollback()
                    self._kept = connection
        except (AirflowException, ConfigurationError, ImportError):
            raise
        except Exception as problem:  # noqa: BLE001  each driver has errors of its own
            said = told(problem, self._sql)
            if self._parameters and not self._has_run and self._may_be_placeholders(problem):
                said += _PLACEHOLDERS
        else:
            return
        finally:
            if self._kept is None:
                # The connection alone: a cursor that was not read to its end would either read on
                # (MySQLdb) or refuse to be closed (mysql-connector). What it says is of no use now.
                with suppress(Exception):
                    driver_of(connection).abandon(connection)
                _close(connection)
        # Not within the block above: the driver's error, which may hold a row, would hang on it.
        raise LeadsDatabaseError(self._conn_id, said)

    def close(self) -> None:
        """Close a connection that was kept, in the thread that has read from it."""
        connection, self._kept = self._kept, None
        if connection is not None:
            _close(connection)

    def _connect(self) -> Any:
        try:
            return self._hook.get_conn()
        except (AirflowException, ImportError):
            raise  # of the connection, not of its data
        except Exception as problem:  # noqa: BLE001  each driver has errors of its own
            # No row has been read, so the error's text can hold none.
            connection = getattr(self._hook, "connection", None)
            connection = connection or find_connection(self._conn_id, "leads_conn_id")
            extra = connection.extra_dejson
            keys = [key for key in extra if _SECRET_KEYS & set(key.lower().split("_"))]
            secrets = [connection.password, *(extra[key] for key in keys)]
            said = told_whole(problem, [str(secret) for secret in secrets if secret])
        raise LeadsDatabaseError(self._conn_id, said, is_connected=False)

    def _fetched(
        self,
        connection: Any,
        *,
        is_new: bool,
    ) -> Iterator[tuple[list[str], Sequence[object]]]:
        driver = driver_of(connection)
        driver.open_session(connection, is_new=is_new)
        check_statement(self._sql, streamed=package_of(connection) in _POSTGRESQL)
        cursor = driver.cursor(connection)
        with suppress(AttributeError, TypeError, NotImplementedError):  # DuckDB has none
            cursor.arraysize = _ROWS_AT_ONCE
        sql = driver.encoded(connection, self._sql)
        self._has_run = False
        if self._parameters:
            cursor.execute(sql, driver.encoded(connection, self._parameters))
        else:
            cursor.execute(sql)
        self._has_run = True
        columns = self._columns(cursor, driver)
        self._check(columns)
        values = driver.values(cursor)
        count = _FIRST_ROWS
        while rows := cursor.fetchmany(count):
            for row in rows:
                yield columns, values(tuple(row.values()) if isinstance(row, dict) else row)
            count = _fitting(rows)
            del row, rows  # they are not to rest in memory while the next are fetched
        if self._keep:
            cursor.close()

    def _may_be_placeholders(self, problem: Exception) -> bool:
        """Tell whether the driver by itself may have failed to bind the parameters."""
        if has_code(problem):
            return False
        kinds = (LookupError, TypeError, ValueError)
        own = isinstance(problem, kinds) or type(problem).__name__ == "ProgrammingError"
        return own or "%" in self._sql

    def _columns(self, cursor: Any, driver: Driver) -> list[str]:
        """Find the first result that has columns; `SET …; SELECT …` has one before it."""
        if package_of(cursor) == "psycopg2" and cursor.description is None:
            # A named cursor of psycopg2 knows its columns once it has fetched.
            cursor.fetchmany(0)
        while not cursor.description:
            if not _has_next_result(cursor):
                raise no_columns()
        return driver.columns(cursor)


def database(conn_id: str) -> DbApiHook:
    """
    Return a connection's hook, if it is one of a database.

    :raises ConfigurationError: if it is none, or its provider is not installed
    """
    connection = find_connection(conn_id, "leads_conn_id")
    hook: DbApiHook | None
    try:
        hook = connection.get_hook()
    except AirflowException as problem:
        if "Unknown hook type" not in str(problem):
            raise
        hook = None
    if hook is None:
        kind = str(connection.conn_type)
        package = _PACKAGES.get(kind, f"apache-airflow-providers-{kind.replace('_', '-')}")
        raise ConfigurationError(
            field="leads_conn_id",
            problem=f"the connection {conn_id} is of type {kind}, whose provider is not installed",
            remedy=f"Install it: pip install '{package}'",
        )
    if not hasattr(hook, "get_conn") or not hasattr(hook, "get_records"):
        raise ConfigurationError(
            field="leads_conn_id",
            problem=f"the connection {conn_id} is not a SQL database",
            remedy="Name a connection of a database, such as one of type postgres or sqlite",
        )
    return hook


def _check_parameters(parameters: object) -> None:
    several = isinstance(parameters, Mapping | Sequence) and not isinstance(parameters, str | bytes)
    if parameters is not None and not several:
        kind = type(parameters).__name__
        raise ConfigurationError(
            field="parameters",
            problem=f"they are neither a list nor a mapping, but a {kind}",
            remedy="Give a list or a mapping of values, as the placeholders of the query ask for",
        )


def _fitting(rows: Sequence[Any]) -> int:
    """Say how many rows to fetch next, if they are as large as some of these."""
    sample = rows[:: max(1, len(rows) // _SAMPLE)]
    total = 1
    for row in sample:
        for value in row.values() if isinstance(row, dict) else row:
            if isinstance(value, str | bytes | bytearray | memoryview):
                total += len(value)
            elif isinstance(value, list | dict):
                total += len(repr(value))
    return max(1, min(_ROWS_AT_ONCE, _BYTES_AT_ONCE * len(sample) // total))


def _close(connection: Any) -> None:
    with suppress(Exception):
        connection.close()


def _has_next_result(cursor: Any) -> bool:
    next_set = getattr(cursor, "nextset", None)  # optional in PEP 249
    try:
        return bool(next_set and next_set())
    except (NotImplementedError, AttributeError):
        return False
    except Exception as problem:
        if type(problem).__name__ == "NotSupportedError":  # each driver has a class of its own
            return False
        raise
