"""Oracle."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zbl_provider.hooks.drivers.base import Driver, Row

if TYPE_CHECKING:
    from collections.abc import Callable


class Oracle(Driver):
    """python-oracledb."""

    session = ("ALTER SESSION SET TIME_ZONE = 'UTC'",)

    def values(self, cursor: Any) -> Callable[[Row], Row]:  # noqa: ARG002  other databases need it
        """Fetch the text or bytes of LOBs, which come as handles."""

        def read(value: Any) -> object:
            return value.read() if type(value).__name__ == "LOB" else value

        return lambda row: [read(value) for value in row]
