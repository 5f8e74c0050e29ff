"""SQLite."""

from __future__ import annotations

from functools import partial
from typing import Any

from zbl_provider.hooks.drivers.base import Driver


class Sqlite(Driver):
    """Python's own sqlite3."""

    keeps = True

    def prepare(self, connection: Any) -> None:
        """Read what is not UTF-8 as lone surrogates, which make a row invalid."""
        connection.text_factory = partial(str, encoding="utf-8", errors="surrogateescape")
