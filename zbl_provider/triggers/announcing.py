"""When a watcher fires: once for each set of leads, and again, less and less often. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Set as AbstractSet

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 60.0, 3600.0


class Announcements:
    """
    What has been announced and still waits.

    The Dag run that an announcement causes takes a while to begin: meanwhile the same leads are no
    news. Should it never have begun, or died, they are announced again after 1, 2, 4, … minutes, at
    most an hour. All this is forgotten with the triggerer's process, which costs one announcement
    too many.
    """

    def __init__(self) -> None:
        self._announced: AbstractSet[str] = frozenset()
        self._pause = _FIRST_PAUSE_SECONDS
        self._again_at = 0.0

    def due(self, waiting: AbstractSet[str], now: float) -> bool:
        """
        Tell whether to announce what waits.

        :param waiting: all that waits now
        :param now: seconds that never go back
        """
        news = bool(waiting - self._announced)
        repeated = bool(waiting) and not news and now >= self._again_at
        if news or repeated:
            self._pause = min(2 * self._pause, _LONGEST_PAUSE_SECONDS)
            if news:
                self._pause = _FIRST_PAUSE_SECONDS
            self._again_at = now + self._pause
        self._announced = waiting
        return news or repeated
