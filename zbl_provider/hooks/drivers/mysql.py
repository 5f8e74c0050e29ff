"""The clients of MySQL and MariaDB: mysqlclient, PyMySQL, mysql-connector-python."""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import TYPE_CHECKING, Any

from zbl_provider.hooks.drivers.base import Driver
from zbl_provider.leads.values import Undecodable

if TYPE_CHECKING:
    from collections.abc import Callable


class MySql(Driver):
    """What the clients of MySQL and MariaDB share."""

    # A server drops a client that reads nothing for a minute; a slow destination may take longer.
    session = ("SET time_zone = '+00:00'", "SET net_write_timeout = 3600")
    keeps = True

    def read_days(self, kinds: Any, readers: dict[int, Any]) -> None:
        """
        Have a client read bits, and dates that are in no calendar, such as 2026-02-00.

        :param kinds: the client's module that numbers the types
        :param readers: the function that it reads each type with
        """
        for name in ("DATE", "DATETIME", "TIMESTAMP"):
            kind = getattr(kinds, name)
            readers[kind] = partial(self.read_time, readers[kind], name)
        readers[kinds.BIT] = self.read_bits  # as mysql-connector does

    @staticmethod
    def read_bits(data: Any) -> int:
        """Read BIT as a number: many programs use BIT(1) as a boolean."""
        return int.from_bytes(bytes(data), "big")

    @staticmethod
    def read_time(read: Callable[[Any], object], kind: str, data: Any) -> object:
        """
        Read a date or time; the clients read one that does not exist as None.

        0000-00-00 is how MySQL writes that there is none; 2026-02-00, or 2026-02-31, is a value.

        :param read: the function that the client reads it with
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
        """Read dates that are in no calendar, too."""
        self.read_days(import_module("MySQLdb.constants.FIELD_TYPE"), connection.converter)

    def cursor(self, connection: Any) -> Any:
        """Open an unbuffered cursor."""
        return connection.cursor(import_module("MySQLdb.cursors").SSCursor)


class PyMySql(MySql):
    """PyMySQL."""

    def prepare(self, connection: Any) -> None:
        """Read dates that are in no calendar, too."""
        connection.decoders = dict(connection.decoders)  # it shares its own with every connection
        self.read_days(import_module("pymysql.constants.FIELD_TYPE"), connection.decoders)

    def cursor(self, connection: Any) -> Any:
        """Open an unbuffered cursor."""
        return connection.cursor(import_module("pymysql.cursors").SSCursor)

    def abandon(self, connection: Any) -> None:
        """Keep the client from reading the rest of the result on a closed socket."""
        connection._result.unbuffered_active = False  # noqa: SLF001  there is no public way


class MySqlConnector(MySql):
    """mysql-connector-python, written in Python; its C extension converts by itself."""

    def prepare(self, connection: Any) -> None:
        """Read dates that are in no calendar, too."""
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
