"""The connection to the log's database, with the two things SQLite must be told."""

from __future__ import annotations

import os
import stat
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, create_engine, event, func, make_url, select
from sqlalchemy.exc import ArgumentError, DisconnectionError
from sqlalchemy.ext.asyncio import create_async_engine

from zbl_provider.exceptions import DeliveryLogError, without_context

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection, Dialect, Engine
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry

FIELD = "[zbl] delivery_log_conn_id"
_BUSY_TIMEOUT_MS = 30_000
# A network that swallows everything is to be noticed while the leases of what is in hand still
# run: by itself Linux goes on for a quarter of an hour, and waits for an answer for ever.
_TIMEOUTS = {
    "connect_timeout": 10,  # seconds
    "tcp_user_timeout": 15_000,  # milliseconds that sent data may stay unacknowledged
    "keepalives": 1,
    "keepalives_idle": 10,  # seconds
    "keepalives_interval": 5,
    "keepalives_count": 2,
}
# A worker that vanishes in the middle of a transaction leaves its locks behind, and the server may
# take it for merely quiet, for hours: it is to let go of them while others still wait.
_IDLE = "idle_in_transaction_session_timeout"
_IDLE_LIMIT = "15s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """
    How long the log is waited for, where somebody else must not be kept waiting (Contract 7.5).

    :param connect_seconds: for a connection
    :param lock_seconds: for what another transaction has locked
    :param statement_seconds: for the answer to one statement
    :param connections: how many at most
    """

    connect_seconds: int
    lock_seconds: int
    statement_seconds: int
    connections: int


def open_engine(url: str | URL, limits: Limits | None = None) -> Engine:
    """
    Return a thread-safe engine for the log's database; nothing is connected yet.

    :param url: of an SQLite file or of a PostgreSQL database
    :param limits: None is a task, which waits as long as it takes
    :raises DeliveryLogError: another kind of database, or its driver is missing (Contract 6.1)
    """
    url = _supported(url)
    is_sqlite = url.drivername == "sqlite"
    connecting = _connecting(url)
    pool: dict[str, int] = {}
    if limits:
        connecting["connect_timeout"] = limits.connect_seconds
        pool = {
            "pool_size": limits.connections,
            "max_overflow": 0,
            "pool_timeout": limits.connect_seconds,
        }
    try:
        # Parameters are personal data: no exception may show them.
        engine = create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=not is_sqlite,
            connect_args={} if is_sqlite else connecting,
            **pool,
        )
    except ModuleNotFoundError as missing:
        raise DeliveryLogError(
            FIELD,
            f"the package {missing.name} is not installed",
            "Install airflow-provider-zbl[postgres]",
        ) from missing
    listen = _listen_to_sqlite if is_sqlite else _listen_to_postgresql
    listen(engine, limits)
    return engine


def open_async_engine(engine: Engine) -> AsyncEngine | None:
    """
    Return an engine for the same database whose waiting is awaited; None for an SQLite file.

    :param engine: as of `open_engine`, for a task
    """
    if engine.dialect.name == "sqlite":
        return None
    # Without a ping before each transaction: a call that fails is made again, in a thread.
    awaited = create_async_engine(
        engine.url, hide_parameters=True, connect_args=_connecting(engine.url)
    )
    _listen_to_postgresql(awaited.sync_engine, None)
    return awaited


def name_of(url: URL) -> str:
    """Return a name of the log's database for people, which holds no secret."""
    if url.drivername == "sqlite":
        return f"SQLite file {url.database}"
    hosts = url.host or url.query.get("host") or "its default host"
    return f"PostgreSQL database {url.database} at {hosts if isinstance(hosts, str) else hosts[0]}"


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection that sees one state of the log and keeps nobody from writing."""
    with engine.connect().execution_options(zbl_reading=True) as connection:
        yield connection


@contextmanager
def writing_at_once(engine: Engine) -> Iterator[Connection]:
    """
    Give a connection for what is one statement of PostgreSQL's: it is a transaction by itself.

    The server is asked once in place of three times.
    """
    if engine.dialect.name == "postgresql":
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            yield connection
    else:
        with engine.begin() as connection:
            yield connection


_TAKE_TURNS = select(func.pg_advisory_xact_lock(func.hashtextextended(bindparam("name"), 0)))


def take_turns(connection: Connection, name: str) -> None:
    """
    Wait for every other transaction that takes turns under this name, until the end of this one.

    On SQLite a writing transaction has the whole database to itself already.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_TAKE_TURNS, {"name": name})


def wipe_journal(engine: Engine) -> None:
    """
    Have an SQLite file's journal forget what was deleted, as far as nobody reads it right now.

    PostgreSQL's own vacuum removes what was deleted.
    """
    if engine.dialect.name == "sqlite":
        with closing(engine.raw_connection()) as connection:
            connection.cursor().execute("PRAGMA wal_checkpoint(TRUNCATE)")


def _connecting(url: URL) -> dict[str, int | str]:
    """Return how to connect: when to give up, as far as the URL does not say, and in UTF-8."""
    timeouts: dict[str, int | str] = {
        name: value for name, value in _TIMEOUTS.items() if name not in url.query
    }
    # Of a database in SQL_ASCII, psycopg would give SQLAlchemy bytes by default.
    return timeouts | {"client_encoding": "utf8"}


@without_context
def _supported(url: str | URL) -> URL:
    try:
        url = make_url(url)
    except ArgumentError:
        # Its text would show the URL, and a URL may hold a password.
        raise _unsupported("it is not a database URL") from None
    kind = url.drivername.partition("+")[0]
    if kind in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    if kind != "sqlite":
        raise _unsupported(f"{kind} is not supported")
    if url.database in {None, "", ":memory:"}:
        raise _unsupported("an SQLite log must be a file")
    return url.set(drivername="sqlite")


def _unsupported(problem: str) -> DeliveryLogError:
    return DeliveryLogError(FIELD, problem, "Name a connection to PostgreSQL or to an SQLite file")


def _listen_to_postgresql(engine: Engine, limits: Limits | None) -> None:
    """Bound what a connection waits for, and tell each session its limits."""
    settings = {} if _IDLE in str(engine.url.query.get("options")) else {_IDLE: _IDLE_LIMIT}
    if limits:
        settings["lock_timeout"] = f"{limits.lock_seconds}s"
        settings["statement_timeout"] = f"{limits.statement_seconds}s"
        statement_seconds = limits.statement_seconds

        @event.listens_for(engine, "do_connect")
        def connect_limited(
            _dialect: Dialect, _: ConnectionPoolEntry, arguments: list[str], options: dict[str, Any]
        ) -> object:
            from zbl_provider.log.storage.limited import connect

            return connect(statement_seconds + 1, *arguments, **options)

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
        # By statement: poolers refuse them among the options of a connection.
        cursor = connection.cursor()
        for name, value in settings.items():
            cursor.execute(f"SET {name} = '{value}'")
        cursor.close()
        connection.commit()


def _listen_to_sqlite(engine: Engine, limits: Limits | None) -> None:
    """Make the file a private one, and say at the start of a transaction whether it writes."""
    busy_ms = limits.lock_seconds * 1000 if limits else _BUSY_TIMEOUT_MS

    @event.listens_for(engine, "do_connect")
    def create_private(
        _dialect: Dialect, _: ConnectionPoolEntry, arguments: list[str], options: dict[str, object]
    ) -> None:
        # SQLite would create it as readable as the umask allows; its journals take after the file.
        if not options.get("uri"):
            # Never one that is there: to close any descriptor of a file takes from the whole
            # process the locks that its other connections hold on it, and SQLite relies on them.
            new = os.O_CREAT | os.O_EXCL | os.O_RDWR
            with suppress(OSError):  # SQLite tells it better
                os.close(os.open(arguments[0], new, stat.S_IRUSR | stat.S_IWUSR))

    @event.listens_for(engine, "connect")
    def set_up(connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info["file"] = _file_of(engine)
        connection.isolation_level = None  # the driver is to begin no transaction by itself
        cursor = connection.cursor()
        cursor.execute(f"PRAGMA busy_timeout = {busy_ms}")
        cursor.execute("PRAGMA synchronous = FULL")
        # What is deleted is overwritten, whatever this build's own default is: see `wipe_journal`.
        cursor.execute("PRAGMA secure_delete = ON")
        cursor.close()

    @event.listens_for(engine, "checkout")
    def give(_connection: DBAPIConnection, entry: ConnectionPoolEntry, _: object) -> None:
        # When a backup is put in its place, those who have the old file open still have it: they
        # would read and write what nobody else sees.
        if entry.info["file"] != _file_of(engine):
            raise DisconnectionError("another file is in the place of the one that was opened")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        # A transaction that reads first and writes later may find that another one has written
        # between, and then no waiting helps: who is going to write says so at once.
        reads = connection.get_execution_options().get("zbl_reading", False)
        connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _file_of(engine: Engine) -> tuple[int, int] | None:
    """Return which file is at the place of an SQLite log now; None if there is none."""
    try:
        file = Path(str(engine.url.database)).stat()
    except OSError:
        return None
    return file.st_dev, file.st_ino
