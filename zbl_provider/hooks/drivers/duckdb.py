"""DuckDB."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from zbl_provider.hooks.drivers.base import Driver, Row
from zbl_provider.leads.values import Undecodable

if TYPE_CHECKING:
    from collections.abc import Callable

_INFINITE = (datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC))


class DuckDb(Driver):
    """DuckDB, whose infinity comes as the first or the last moment that Python knows."""

    session = ("SET TimeZone = 'UTC'",)

    def values(self, cursor: Any) -> Callable[[Row], Row]:
        """Tell infinity from a time, in a list, a struct or a map, too."""
        kinds = [str(column[1]) for column in cursor.description]
        moments = [at for at, kind in enumerate(kinds) if "TIMESTAMP" in kind or "DATETIME" in kind]
        if not moments:
            return super().values(cursor)

        def read(row: Row) -> Row:
            values = list(row)
            for at in moments:
                values[at] = _finite(values[at])
            return tuple(values)

        return read


def _finite(value: Any) -> Any:
    if isinstance(value, datetime):
        is_infinite = value.replace(tzinfo=UTC) in _INFINITE
        return Undecodable("TIMESTAMP (infinity)", str(value).encode()) if is_infinite else value
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, dict):
        return {_finite(key): _finite(item) for key, item in value.items()}
    return value
