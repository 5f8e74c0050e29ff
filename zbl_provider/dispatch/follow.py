"""A task that stays and looks again: at what, how often, and for how long (Contract 4.12)."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Protocol

from zbl_provider.dispatch.troubles import Troubles
from zbl_provider.exceptions import LeadsDatabaseError, MissingConnection, ZblError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import timedelta

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.dispatch.intake import FoundRow

logger = logging.getLogger(__name__)

_REREAD_SECONDS = 30.0  # Airflow, or a secrets backend, is asked for the connection
_SLOW_SECONDS = 60.0  # without a row, until people are told of it,
_HANGS_SECONDS = 300.0  # and after the end of the task's time, until nothing more is waited for


class Looks(Protocol):
    """
    A query of leads that is run again and again.

    :ivar conn_id: the connection of its database
    """

    conn_id: str

    def __call__(self) -> Iterable[FoundRow]:
        """Find what it has now."""

    def close(self) -> None:
        """Let go of its database until the next look; in the thread that looked."""


class Follow:
    """
    How long a task stays, and what it does from look to look.

    :param looks: the query
    :param lasting: how long the task stays, from now on
    :param seconds: from the beginning of a look to that of the next; a look that takes long is
        followed by a rest that takes as long
    :param reread: reads the integration's connection; what is changed there counts within a minute
    """

    def __init__(
        self,
        looks: Looks,
        lasting: timedelta,
        seconds: float,
        reread: Callable[[], Destination],
    ) -> None:
        self.looks = looks
        self._reread = reread
        self._until = time.monotonic() + lasting.total_seconds()
        self._seconds = seconds
        self._troubles = Troubles(seconds)
        self._has_looked = False
        self._reread_at = time.monotonic() + _REREAD_SECONDS
        self._was_missing = False
        self._began = 0.0
        self.problem: LeadsDatabaseError | None = None

    @property
    def over(self) -> bool:
        """Whether the task has stayed for its time."""
        return time.monotonic() >= self._until

    def begin(self) -> None:
        """Note that a look begins."""
        self._began = time.monotonic()

    def looked(self) -> float:
        """Note that a look has come to its end; return when the next one begins."""
        if self._troubles.over() and self.problem is None:
            logger.info("The database of leads answers again.")
        self._has_looked, self.problem = True, None
        now = time.monotonic()
        return max(self._began + self._seconds, now + (now - self._began))

    def failed(self, problem: LeadsDatabaseError) -> float:
        """
        Note that a look has failed: what is in the log is sent all the same.

        :param problem: the database's
        :return: when the next look begins
        :raises LeadsDatabaseError: if it was the task's first look: the query may never work
        """
        if not self._has_looked:
            raise problem
        # Only if it lasts: a resting connection that was closed meanwhile is opened again.
        if self.problem and (text := self._troubles.news(problem, "")):
            logger.warning("The query of leads is tried again until it works: %s.", text)
        self.problem = problem
        return time.monotonic() + self._troubles.pause

    def changed(self, destination: Destination) -> bool:
        """
        Tell whether the integration's connection was changed; it is read now and then.

        :param destination: the integration as it is known
        """
        if time.monotonic() < self._reread_at:
            return False
        return self.read(destination) != destination

    def read(self, destination: Destination) -> Destination:
        """
        Return the integration as its connection has it now.

        One that is not there counts as gone when it is missing for the second time in a row:
        Airflow says the same of it while its API server restarts.

        :param destination: returned where the connection cannot be read at the moment
        :raises ConfigurationError: if its connection cannot be used any more
        """
        self._reread_at = time.monotonic() + _REREAD_SECONDS
        was_missing, self._was_missing = self._was_missing, False
        try:
            return self._reread()
        except MissingConnection as problem:
            if was_missing:
                raise
            self._was_missing, kind = True, type(problem).__name__
        except ZblError:
            raise
        except Exception as problem:  # noqa: BLE001  each secrets backend has errors of its own
            kind = type(problem).__name__
        logger.warning("The connection cannot be read again: %s.", kind)
        return destination


class SlowQuery:
    """
    A look at the query that has given nothing so far: told of once, and given up in the end.

    :param follow: of the task that waits for it
    """

    def __init__(self, follow: Follow) -> None:
        self._follow = follow
        self._since = time.monotonic()
        self._told = False
        self._over_since: float | None = None

    def check(self) -> None:
        """
        Warn if it takes long; to be called as long as it gives nothing.

        :raises LeadsDatabaseError: if the task's time has been over for so long that it hangs
        """
        now = time.monotonic()
        seconds = now - self._since
        if seconds > _SLOW_SECONDS and not self._told:
            self._told = True
            logger.warning(
                "The query of leads has given nothing for %d seconds: it is slow, or its database "
                "cannot be reached any more. What is due is sent meanwhile.",
                seconds,
            )
        if self._follow.over:
            self._over_since = self._over_since or now
            if now - self._over_since > _HANGS_SECONDS:
                problem = f"it has given nothing for {seconds:.0f} seconds, and is not waited for"
                raise LeadsDatabaseError(self._follow.looks.conn_id, problem)
