"""The rows of a query, streamed through any DB-API connection that Airflow has (Contract 4.2)."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowException

from zbl_provider.driver_errors import told
from zbl_provider.exceptions import ConfigurationError, LeadsDatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from airflow.providers.common.sql.hooks.sql import DbApiHook

_ROWS_AT_ONCE = 1000


class Rows:
    """
    The rows of one query; the database is asked when they are iterated.

    The query goes straight to a cursor, since `DbApiHook.run` writes its parameters to the log.

    :param conn_id: connection of the database
    :param sql: the query; one statement
    :param parameters: bound by the driver, in its own style of placeholders
    :raises ConfigurationError: if the connection is no database
    """

    def __init__(
        self,
        conn_id: str,
        sql: str,
        parameters: Mapping[str, Any] | Sequence[Any] | None = None,
    ) -> None:
        self._conn_id = conn_id
        self._hook = database(conn_id)
        self._sql = sql
        self._parameters = parameters

    def __iter__(self) -> Iterator[tuple[list[str], Sequence[object]]]:
        """
        Give the names of the columns and the values of each row, some hundreds in memory.

        :raises LeadsDatabaseError: if the database gives none; a driver's own error may quote them
        """
        try:
            yield from self._fetched()
        except (AirflowException, ImportError):
            raise  # of the connection, not of its data
        except Exception as problem:  # noqa: BLE001  each driver has errors of its own
            raise LeadsDatabaseError(self._conn_id, told(problem, self._sql)) from None

    def _fetched(self) -> Iterator[tuple[list[str], Sequence[object]]]:
        with closing(self._hook.get_conn()) as connection, closing(_cursor(connection)) as cursor:
            cursor.arraysize = _ROWS_AT_ONCE
            if self._parameters:
                cursor.execute(self._sql, self._parameters)
            else:
                cursor.execute(self._sql)
            columns: list[str] | None = None
            while rows := cursor.fetchmany(_ROWS_AT_ONCE):
                columns = columns or [column[0] for column in cursor.description]
                for row in rows:
                    yield columns, tuple(row.values()) if isinstance(row, dict) else row


def database(conn_id: str) -> DbApiHook:
    """
    Return a connection's hook, if it is one of a database.

    :raises ConfigurationError: if it is none
    """
    hook: DbApiHook = BaseHook.get_hook(conn_id)
    if not hasattr(hook, "get_conn") or not hasattr(hook, "get_records"):
        raise ConfigurationError(
            field="leads_conn_id",
            problem=f"the connection {conn_id} is no SQL database",
            remedy="Name a connection of a database, such as one of type postgres or sqlite",
        )
    return hook


def _cursor(connection: Any) -> Any:  # noqa: ANN401  PEP 249 names no types
    """Ask PostgreSQL for a server-side cursor: its ordinary one fetches the whole result."""
    if type(connection).__module__.partition(".")[0] in {"psycopg", "psycopg2"}:
        return connection.cursor(name="zbl_leads")
    return connection.cursor()
