"""Failures of a database that is looked at again and again: when to tell, and when to ask again."""

from __future__ import annotations

from zbl_provider.driver_errors import told
from zbl_provider.exceptions import ZblError

_LONGEST_PAUSE_SECONDS = 15.0


class Troubles:
    """
    Troubles with a database: told once, and it is asked again less and less often.

    :param seconds: between two looks when there is no trouble
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._told = ""
        self.pause = seconds

    def news(self, problem: Exception, statement: str) -> str | None:
        """
        Return what to say of a problem, unless it was said; it shows no data (Contract 4.3).

        :param problem: what the look raised
        :param statement: the SQL of which words may be shown
        """
        self.pause = max(self._seconds, min(2 * self.pause, _LONGEST_PAUSE_SECONDS))
        text = str(problem) if isinstance(problem, ZblError) else told(problem, statement)
        if text == self._told:
            return None
        self._told = text
        return text.rstrip(".")

    def over(self) -> bool:
        """Note that a look succeeded; tell whether that is news."""
        self.pause = self._seconds
        was_told, self._told = bool(self._told), ""
        return was_told
