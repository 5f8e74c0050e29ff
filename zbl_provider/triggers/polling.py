"""How triggers ask databases: in threads, and many that ask the same ask once."""

from __future__ import annotations

import asyncio
import contextvars
import threading
import time
from concurrent.futures import Future
from contextlib import contextmanager
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast
from weakref import WeakValueDictionary

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Hashable, Iterator

_Answer = TypeVar("_Answer")

_SOON_SECONDS = 10.0  # until a question is asked again that had no answer

_THREADS = threading.BoundedSemaphore(16)
_POLLS: WeakValueDictionary[Hashable, Poll[Any]] = WeakValueDictionary()


async def in_thread(call: Callable[[], _Answer]) -> _Answer:
    """
    Call in a thread, so that no other trigger waits; imports that take long belong there, too.

    The thread is nobody else's, and nobody waits for its end: a database that does not answer
    keeps neither other providers' triggers nor the end of the triggerer.

    :param call: reads
    :return: what it returns; what it raises is raised
    """
    future: Future[_Answer] = Future()
    future.set_running_or_notify_cancel()  # a caller that is cancelled does not cancel it
    call_here = contextvars.copy_context().run

    def run() -> None:
        with _THREADS:
            try:
                answer = call_here(call)
            except BaseException as problem:  # noqa: BLE001  raised where it is awaited
                future.set_exception(problem)
            else:
                future.set_result(answer)

    threading.Thread(target=run, name="zbl-poll", daemon=True).start()
    return await asyncio.wrap_future(future)


class Poll(Generic[_Answer]):
    """
    One question that many triggers of a process wait on: it is asked once an interval for all.

    :param ask: called in a thread, with all that is wanted
    :param seconds: from an answer to the next question
    """

    def __init__(self, ask: Callable[[Collection[str]], _Answer], seconds: float) -> None:
        self._ask = ask
        self._seconds = seconds
        self._wanted: dict[object, Collection[str]] = {}
        self._asking: asyncio.Task[_Answer] | None = None
        self._due = 0.0

    @classmethod
    def shared(
        cls, key: Hashable, ask: Callable[[Collection[str]], _Answer], seconds: float
    ) -> Poll[_Answer]:
        """
        Return the poll that others have for the same question, or a new one.

        :param key: tells the question, and whom it is asked, from every other
        """
        key = (asyncio.get_running_loop(), key, seconds)
        poll = _POLLS.get(key)
        if poll is None:
            poll = _POLLS[key] = cls(ask, seconds)
        return poll

    @contextmanager
    def wanting(self, wanted: Collection[str] = ()) -> Iterator[None]:
        """Have this asked for, too, while the block lasts."""
        me = object()
        self._wanted[me] = wanted
        try:
            yield
        finally:
            del self._wanted[me]

    async def next(self) -> _Answer:
        """
        Wait for the time of the next question, and return its answer.

        :raises Exception: what asking raised
        """
        last = self._asking
        if last is None or last.done():
            await asyncio.sleep(self._due - time.monotonic())
            if self._asking is last:  # nobody else was up earlier
                self._asking = asyncio.create_task(self._ask_for_all())
                # So that asyncio does not complain if nobody waits for the answer any more.
                self._asking.add_done_callback(lambda task: task.cancelled() or task.exception())
        return await asyncio.shield(cast("asyncio.Task[_Answer]", self._asking))

    async def _ask_for_all(self) -> _Answer:
        wanted = frozenset(chain.from_iterable(self._wanted.values()))
        pause = min(self._seconds, _SOON_SECONDS)
        try:
            answer = await in_thread(partial(self._ask, wanted))
            pause = self._seconds
        finally:
            self._due = time.monotonic() + pause
        return answer


async def until(
    poll: Poll[_Answer], over: Callable[[_Answer], bool], wanted: Collection[str] = ()
) -> bool:
    """
    Wait for an answer that ends the wait.

    :param poll: what is asked
    :param over: tells whether an answer does
    :param wanted: what is asked for
    :return: True when it came; False when there has been no answer at all for so long that the
        task had better look itself, and fail with the reason if it finds the same
    """
    failing_since: float | None = None
    with poll.wanting(wanted):
        while True:
            try:
                answer = await poll.next()
            except Exception:  # noqa: BLE001  the task will say what it is
                # Heavy, but the thread that asked has imported it before.
                from zbl_provider.log.storage.retry import TASK_RETRY

                now = time.monotonic()
                failing_since = failing_since or now
                if now - failing_since >= TASK_RETRY.total_seconds():
                    return False
            else:
                failing_since = None
                if over(answer):
                    return True
