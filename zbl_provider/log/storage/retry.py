"""What a call of the log does while its database is away: it waits, for a bounded time."""

from __future__ import annotations

import logging
import threading
import time
from contextlib import contextmanager
from datetime import timedelta
from functools import partial, wraps
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from zbl_provider.driver_errors import told
from zbl_provider.exceptions import DeliveryLogFault, DeliveryLogUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

logger = logging.getLogger(__name__)

TASK_RETRY = timedelta(seconds=60)
"""How long a task waits: as long as a lease, in which nobody else sends what is in its hands."""

_FIRST_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 0.1, 5.0
_READ_ONLY = "25006"  # a standby: after a fail-over the name may lead there for a while

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class Retry:
    """
    Repeats what failed because the database is away, restarted, locked or full.

    Every call of the log may be repeated, even when only the answer to its commit was lost: what
    is written is found again, and a claim that settles once never settles a second time.

    :param log: the log's name for people
    :param limit: how long after a call's first failure it is tried again
    :param monotonic: seconds that never go back
    """

    def __init__(
        self, log: str, limit: timedelta, *, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self.log = log
        self._seconds = limit.total_seconds()
        self._monotonic = monotonic
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._waiting = 0

    @property
    def waiting(self) -> bool:
        """Whether a call is waiting now, so that nothing more can be recorded for the moment."""
        return self._waiting > 0

    def end(self) -> None:
        """Wait no more: calls that are waiting are tried once more, later ones once."""
        self._ended.set()

    def call(self, attempt: Callable[[], _Result]) -> _Result:
        """
        Return what the attempt returns, once it succeeds.

        :param attempt: one transaction; called from any thread
        :raises DeliveryLogUnavailable: it went on failing; from then on nothing else waits either
        """
        try:
            return attempt()
        except DBAPIError as problem:
            if not _may_pass(problem):
                raise
            with self._shown(problem):
                return self._repeat(attempt, problem)

    def _repeat(self, attempt: Callable[[], _Result], problem: DBAPIError) -> _Result:
        until = self._monotonic() + self._seconds
        pause = _FIRST_PAUSE_SECONDS
        while (left := until - self._monotonic()) > 0 and not self._ended.is_set():
            self._ended.wait(min(pause, left))
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
            try:
                return attempt()
            except DBAPIError as next_problem:
                if not _may_pass(next_problem):
                    raise
                problem = next_problem
        self.end()
        raise DeliveryLogUnavailable(log=self.log, problem=_text(problem)) from problem

    @contextmanager
    def _shown(self, problem: DBAPIError) -> Iterator[None]:
        """Say once, however many calls wait, that the log is away, and that it is back."""
        with self._lock:
            self._waiting += 1
            first = self._waiting == 1
        if first and self._seconds and not self._ended.is_set():
            logger.warning(
                "The delivery log (%s) cannot be used at the moment: %s. Nothing more is sent; "
                "what is known is kept and written when it is back, within %.0f seconds.",
                self.log,
                _text(problem),
                self._seconds,
            )
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                last = self._waiting == 0
            if last and not self._ended.is_set():
                logger.info("The delivery log is back.")


class _Retrying(Protocol):
    _retry: Retry


_Self = TypeVar("_Self", bound=_Retrying)


def retried(
    method: Callable[Concatenate[_Self, _Params], _Result],
) -> Callable[Concatenate[_Self, _Params], _Result]:
    """Have a method of the log tried again while its database is away, as its `_retry` says."""

    @wraps(method)
    def call(self: _Self, /, *args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        try:
            return self._retry.call(partial(method, self, *args, **kwargs))
        except DBAPIError as problem:
            # Its own text may show a row, so it must not be the context of what is shown either.
            fault = told(problem.orig or problem, problem.statement or "")
        raise DeliveryLogFault(log=self._retry.log, problem=fault)

    return call


def _may_pass(problem: DBAPIError) -> bool:
    state: Any = getattr(problem.orig, "sqlstate", None)
    return (
        isinstance(problem, OperationalError | InterfaceError)
        or problem.connection_invalidated
        or state == _READ_ONLY
    )


def _text(problem: DBAPIError) -> str:
    """Return the driver's own first line: the rest may quote the statement, or a row."""
    return str(problem.orig).strip().partition("\n")[0].rstrip(". ")
