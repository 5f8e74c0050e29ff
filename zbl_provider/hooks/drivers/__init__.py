"""
How each database's leads are read: streamed, in UTC, and leniently (Contract 4.9 and 6.5).

DB-API (PEP 249) leaves it to each driver whether a result is held in memory, which zone a time is
in, and what becomes of a value that Python has no type for. Each file here knows this for one
database. A driver that is not listed is used as PEP 249 says, without the parts that it calls
optional.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zbl_provider.hooks.drivers.base import Driver, InUtc
from zbl_provider.hooks.drivers.bigquery import BigQuery
from zbl_provider.hooks.drivers.duckdb import DuckDb
from zbl_provider.hooks.drivers.mysql import MySqlConnector, MySqlDb, PyMySql
from zbl_provider.hooks.drivers.oracle import Oracle
from zbl_provider.hooks.drivers.psycopg import Psycopg
from zbl_provider.hooks.drivers.psycopg2 import Psycopg2
from zbl_provider.hooks.drivers.sqlite import Sqlite

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Driver", "driver_of", "package_of"]

_OTHER = Driver()
# By the package of the connection's class, which is all that a connection tells of its driver.
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
    """Return what is known of the driver that a connection belongs to."""
    return _DRIVERS.get(package_of(connection), _OTHER)


def package_of(connection: object) -> str:
    """Name the package that a connection's class comes from, such as ``psycopg``."""
    return type(connection).__module__.partition(".")[0]
