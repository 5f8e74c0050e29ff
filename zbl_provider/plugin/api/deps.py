"""The delivery log, opened once for a process of the API server; left alone while it is away."""

import threading
import time
from collections.abc import Callable
from functools import cache
from typing import Annotated

from fastapi import Depends

from zbl_provider.exceptions import DeliveryLogUnavailable
from zbl_provider.log.storage.engine import Limits
from zbl_provider.log.store import DeliveryLog
from zbl_provider.plugin.api.threads import THREADS, own_thread

LIMITS = Limits(connect_seconds=3, lock_seconds=2, statement_seconds=5, connections=THREADS)
"""Of the page's connections: a person waits, and its threads are few (Contract 7.5)."""

_REMEMBERED_SECONDS = 3.0


class Absence:
    """
    Remembers that the log does not answer, so that not every request finds out anew (7.5).

    :param seconds: how long; then one request at a time tries again
    :param monotonic: seconds that never go back
    """

    def __init__(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._problem: DeliveryLogUnavailable | None = None
        self._until = 0.0

    def check(self) -> None:
        """
        Return if the log may be asked.

        :raises DeliveryLogUnavailable: it did not answer a moment ago
        """
        with self._lock:
            if self._problem is None:
                return
            now = self._monotonic()
            if now < self._until:
                raise DeliveryLogUnavailable(log=self._problem.log, problem=self._problem.problem)
            # This request tries; the others are refused until it knows.
            self._until = now + self._seconds

    def note(self, problem: DeliveryLogUnavailable) -> None:
        """Remember a failure."""
        with self._lock:
            self._problem = problem
            self._until = self._monotonic() + self._seconds

    def end(self) -> None:
        """Forget the failure: the log has answered."""
        with self._lock:
            self._problem = None


ABSENCE = Absence(_REMEMBERED_SECONDS)
_OPENING = threading.Lock()


def open_log() -> DeliveryLog:
    """
    Return the log that `[zbl] delivery_log_conn_id` names, with the one pool of this process.

    Opened at the first request, so after any fork. While it does not answer, this is said at once.

    :raises DeliveryLogError: if the database can't serve, naming what to change
    :raises DeliveryLogUnavailable: if it is away now
    """
    ABSENCE.check()
    try:
        # Who waits here waits in a thread of the page, as long as one connection may take.
        with _OPENING:
            log = _opened()
        log.ping()
    except DeliveryLogUnavailable as problem:
        ABSENCE.note(problem)
        raise
    ABSENCE.end()
    return log


@cache
def _opened() -> DeliveryLog:
    from zbl_provider.hooks.delivery_log import delivery_log

    return delivery_log(limits=LIMITS)


the_log = own_thread(open_log)
"""The dependency of every route that needs the log."""

Log = Annotated[DeliveryLog, Depends(the_log)]
