"""Connections to real databases of leads, by the name of each."""

from __future__ import annotations

import duckdb
import psycopg
import psycopg2
import pytest
from sqlalchemy import make_url

from tests.support.databases import postgres
from tests.support.leads_database import use

__all__ = ["postgres", "use"]


@pytest.fixture(scope="session")
def sql_ascii(postgres):
    """Make a database whose encoding is SQL_ASCII; give its URL."""
    url = make_url(postgres)
    with psycopg.connect(_plain(url), autocommit=True) as connection:
        connection.execute(
            "CREATE DATABASE old ENCODING 'SQL_ASCII' LC_COLLATE 'C' LC_CTYPE 'C' "
            "TEMPLATE template0"
        )
    plain = _plain(url.set(database="old"))
    with psycopg.connect(plain) as connection:
        connection.execute(b"CREATE TYPE mood AS ENUM ('s\xc3\xa3o', 'b\xe3d')")
    return plain


def _plain(url):
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


@pytest.fixture
def connections(postgres, tmp_path):
    """Give what connects to each database, by its name."""
    plain = _plain(make_url(postgres))
    return {
        "psycopg": lambda: psycopg.connect(plain),
        "psycopg2": lambda: psycopg2.connect(plain),
        "duckdb": lambda: duckdb.connect(str(tmp_path / "leads.duckdb")),
    }
