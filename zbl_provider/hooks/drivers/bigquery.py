"""Google BigQuery."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from zbl_provider.hooks.drivers.base import Driver, Row
from zbl_provider.leads.values import Undecodable

if TYPE_CHECKING:
    from collections.abc import Callable

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class BigQuery(Driver):
    """Airflow's own cursor for Google BigQuery."""

    def values(self, cursor: Any) -> Callable[[Row], Row]:
        """Read TIMESTAMP, which comes as seconds since 1970."""
        kinds = [column[1] for column in cursor.description]
        if "TIMESTAMP" not in kinds:
            return super().values(cursor)

        def read(kind: str, value: object) -> object:
            if kind != "TIMESTAMP" or not isinstance(value, float):
                return value
            with suppress(OverflowError, ValueError):
                return _EPOCH + timedelta(seconds=value)
            return Undecodable("TIMESTAMP", str(value).encode())

        return lambda row: [read(kind, value) for kind, value in zip(kinds, row, strict=True)]
