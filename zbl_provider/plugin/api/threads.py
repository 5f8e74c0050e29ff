"""
The page's own threads, so that a delivery log that does not answer stalls nothing else (7.5).

FastAPI runs plain functions in threads that all of Airflow's routes share. The page waits for a
database of its own, which may be dark, frozen or locked: it waits in a few threads of its own, for
a bounded time, and answers 503 once they are used up.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from functools import wraps
from inspect import iscoroutinefunction
from typing import Any, ParamSpec, TypeVar

from fastapi import HTTPException
from fastapi.routing import APIRoute

THREADS = 4
_MOST_WAITING = 32
_LONGEST_SECONDS = 10.0
# The page asks again by itself after so many seconds.
_RETRY = {"Retry-After": "5"}
_BUSY = "The delivery log is slow: too many requests wait for it. Try again in a moment."
_SLOW = "The delivery log did not answer in time. Try again in a moment."

_Params = ParamSpec("_Params")
_Result = TypeVar("_Result")


class Threads:
    """
    Runs functions in a few threads, and refuses what would have to wait for long.

    :param count: how many threads
    :param waiting: how many calls may wait for one
    :param seconds: how long a call may take, its waiting included
    """

    def __init__(self, count: int, waiting: int, seconds: float) -> None:
        self._executor = ThreadPoolExecutor(count, "zbl-page")
        self._most = count + waiting
        self._seconds = seconds
        self._lock = threading.Lock()
        self._under_way = 0

    async def run(
        self, function: Callable[_Params, _Result], *args: _Params.args, **kwargs: _Params.kwargs
    ) -> _Result:
        """
        Return what the function returns.

        :raises HTTPException: 503 if no thread is free, or it takes too long
        """
        with self._lock:
            if self._under_way >= self._most:
                raise HTTPException(503, _BUSY, _RETRY)
            self._under_way += 1
        future = self._executor.submit(function, *args, **kwargs)
        # A call that nobody waits for any more still has its thread.
        future.add_done_callback(self._ended)
        try:
            return await asyncio.wait_for(asyncio.wrap_future(future), self._seconds)
        except TimeoutError:
            raise HTTPException(503, _SLOW, _RETRY) from None

    def _ended(self, _: "Future[Any]") -> None:
        with self._lock:
            self._under_way -= 1


PAGE = Threads(THREADS, _MOST_WAITING, _LONGEST_SECONDS)


def own_thread(
    function: Callable[_Params, _Result],
) -> Callable[_Params, Awaitable[_Result]]:
    """Return the function as one that FastAPI awaits, while a thread of the page runs it."""

    @wraps(function)
    async def call(*args: _Params.args, **kwargs: _Params.kwargs) -> _Result:
        return await PAGE.run(function, *args, **kwargs)

    return call


class OwnThreadRoute(APIRoute):
    """A route whose plain function runs in a thread of the page."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **settings: Any) -> None:
        if not iscoroutinefunction(endpoint):
            endpoint = own_thread(endpoint)
        super().__init__(path, endpoint, **settings)
