"""Memory and time of reading leads from each database: 300,000 rows beside 3,000."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from benchmarks.figures import Figure
from benchmarks.reading import measure
from benchmarks.running import run_benchmarks
from tests.support.databases import running_postgres
from tests.support.mariadb import running_mariadb

if TYPE_CHECKING:
    from collections.abc import Iterator

FEW, MANY = 3_000, 300_000
_SQL = (
    "SELECT n AS id, {mail} AS email, 'Ana Souza' AS name, 85.5 AS score, '{{\"plan\": \"pro\"}}' "
    "AS custom_fields, 'São Paulo' AS city, '2026-02-23 14:30:02' AS created_at FROM {numbers}"
)
_STANDARD_MAIL = "'lead' || n || '@example.com'"
_MYSQL_MAIL = "CONCAT('lead', n, '@example.com')"


def main(*, quick: bool = False) -> list[Figure]:
    """Print the table, and return the greatest difference of memory."""
    many = FEW * 10 if quick else MANY
    print(f"Reading leads, {FEW:,} and {many:,} rows, each in a process of its own")
    print(f"{'database':<28} {'few MiB':>9} {'many MiB':>9} {'us a row':>9}")
    differences = []
    for name, connection, sql in _databases():
        few, more = (measure(connection, sql.replace("COUNT", str(rows))) for rows in (FEW, many))
        assert (few.rows, more.rows) == (FEW, many), name
        us_a_row = more.seconds / many * 1_000_000
        print(f"{name:<28} {few.peak:>9.0f} {more.peak:>9.0f} {us_a_row:>9.1f}")
        differences.append(more.peak - few.peak)
    return [
        Figure(
            name=f"memory that {many:,} rows take beyond {FEW:,}",
            value=max(0.0, *differences),
            unit="MiB",
            goal=40,
            bound=80,
            note="the worst of all databases and clients",
        )
    ]


def _databases() -> Iterator[tuple[str, dict[str, Any], str]]:
    """Give each database's name, its connection, and a query of COUNT rows."""
    with ExitStack() as running:
        folder = Path(running.enter_context(TemporaryDirectory(prefix="zbl-bench-")))
        port = running.enter_context(running_mariadb())
        mysql = {
            "host": "127.0.0.1",
            "port": port,
            "login": "leads",
            "password": "secret",
            "schema": "leads",
        }
        query = _SQL.format(
            mail=_MYSQL_MAIL, numbers="(SELECT seq AS n FROM seq_1_to_COUNT) numbers"
        )
        for client in ("mysqlclient", "mysql-connector-python"):
            connection = {"conn_type": "mysql", **mysql, "extra": {"client": client}}
            yield f"MariaDB, {client}", connection, query
        yield "MariaDB, PyMySQL", {"conn_type": "pymysql", **mysql}, query
        url = make_url(running.enter_context(running_postgres(folder / "postgres")))
        numbers = "generate_series(1, COUNT) n"
        yield "PostgreSQL", _postgres(url), _SQL.format(mail=_STANDARD_MAIL, numbers=numbers)
        with closing(sqlite3.connect(folder / "leads.db")) as made, made:
            made.execute("CREATE TABLE numbers (n INTEGER PRIMARY KEY)")
            made.executemany("INSERT INTO numbers VALUES (?)", ((n + 1,) for n in range(MANY)))
        numbers = "numbers WHERE n <= COUNT"
        connection = {"conn_type": "sqlite", "host": str(folder / "leads.db")}
        yield "SQLite", connection, _SQL.format(mail=_STANDARD_MAIL, numbers=numbers)
        numbers = "range(1, COUNT + 1) t(n)"
        query = _SQL.format(mail=_STANDARD_MAIL, numbers=numbers)
        yield "DuckDB", {"conn_type": "duckdb"}, query


def _postgres(url: Any) -> dict[str, Any]:
    # The server is reached by a Unix socket, whose folder stands in the URL's query.
    host = url.query.get("host") or url.host
    return {
        "conn_type": "postgres",
        "host": host,
        "port": url.port,
        "login": url.username,
        "password": url.password,
        "schema": url.database,
    }


if __name__ == "__main__":
    run_benchmarks({"databases": main})
