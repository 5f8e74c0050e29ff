"""Bytes of many rows end to end: JSON has none, and spelt out they are twice as long."""

from __future__ import annotations


class Joined:
    """
    Bytes end to end; what many rows share, such as an answer's excerpt, is there once.

    :ivar bytes: all of them
    """

    def __init__(self) -> None:
        self.bytes = bytearray()
        self._starts: dict[bytes, int] = {}

    def add(self, value: bytes | None) -> tuple[int | None, int | None]:
        """Return where it begins, counted from 1 as SQL does, and how long it is."""
        if value is None:
            return None, None
        start = self._starts.get(value)
        if start is None:
            start = self._starts[value] = len(self.bytes) + 1
            self.bytes += value
        return start, len(value)
