"""Brings the log's tables to this version of the provider."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import column, inspect, select, table, text
from sqlalchemy.exc import OperationalError

from zbl_provider.exceptions import DeliveryLogError
from zbl_provider.log.storage.engine import FIELD, reading, take_turns
from zbl_provider.log.storage.tables import VERSION_TABLE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

HEAD = "0006"
"""The newest migration; known here so that a log that is up to date costs one look."""

_VERSION = table(VERSION_TABLE, column("version_num"))
# All of them: a warehouse may well hold copies of some.
_AIRFLOW_TABLES = frozenset({"alembic_version", "dag_run", "task_instance"})
_OLDEST_SQLITE = (3, 35)  # RETURNING
_WAL = "PRAGMA journal_mode = WAL"
_IN_USE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}  # by somebody, for a moment
_WAL_TRIES = 300
_WAL_PAUSE_SECONDS = 0.1


def upgrade(engine: Engine) -> None:
    """
    Create or upgrade the tables; safe to call from many processes at once (Contract 6.1).

    :param engine: of the log's database
    :raises DeliveryLogError: it is Airflow's own, too old, or written by a newer provider
    """
    with reading(engine) as connection:
        inspector = inspect(connection)
        for schema in inspector.get_schema_names():
            if set(inspector.get_table_names(schema)) >= _AIRFLOW_TABLES:
                raise DeliveryLogError(
                    FIELD,
                    "this is Airflow's metadata database",
                    "Name a database of its own for the delivery log",
                )
        if _version(connection) == HEAD:
            return
    if engine.dialect.name == "sqlite":
        _prepare_file(engine)
    with engine.begin() as connection:
        take_turns(connection, VERSION_TABLE)
        if engine.dialect.name == "postgresql":
            _check_encoding(connection)
        _migrate(connection)


def _check_encoding(connection: Connection) -> None:
    """Refuse a database that cannot hold every id: one such lead would hold up all others."""
    encoding = connection.scalar(text("SHOW server_encoding"))
    if encoding != "UTF8":
        raise DeliveryLogError(
            FIELD,
            f"its database is in {encoding}, which does not hold every text",
            "Name a database that was created with ENCODING 'UTF8'",
        )


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    version: str | None = connection.scalar(select(_VERSION.c.version_num))
    return version


def _migrate(connection: Connection) -> None:
    # Alembic takes a tenth of a second to import: only a migration pays for it.
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config(attributes={"connection": connection})
    scripts = str(Path(__file__).parent / "migrations")
    config.set_main_option("script_location", scripts.replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        raise DeliveryLogError(
            field=FIELD,
            problem=f"its tables are at {_version(connection)}, which this provider does not know",
            remedy="Upgrade airflow-provider-zbl to the version that wrote them",
        ) from error


def _prepare_file(engine: Engine) -> None:
    """Switch the file to write-ahead logging, which it keeps: readers never wait for a writer."""
    if sqlite3.sqlite_version_info < _OLDEST_SQLITE:
        raise DeliveryLogError(
            field=FIELD,
            problem=f"SQLite {sqlite3.sqlite_version} is too old",
            remedy="Use SQLite 3.35 or newer, or PostgreSQL",
        )
    for _ in range(_WAL_TRIES):
        try:
            # Not within a transaction, which SQLAlchemy's own connections always begin.
            with closing(engine.raw_connection()) as connection:
                connection.cursor().execute(_WAL)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF not in _IN_USE:
                raise OperationalError(_WAL, None, error) from error
            # Of two that switch at once one is told "locked" without SQLite waiting for the other.
            locked = error
            time.sleep(_WAL_PAUSE_SECONDS)
        else:
            return
    raise OperationalError(_WAL, None, locked)
