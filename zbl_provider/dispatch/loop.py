"""The event loop that a drain runs in, and what ends it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

_Result = TypeVar("_Result")

_COLLECTIONS = (50_000, 20, 100)
MOMENT_SECONDS = 0.05


async def moment() -> None:
    """Wait a moment: too short to notice, and long enough not to keep the processor busy."""
    await asyncio.sleep(MOMENT_SECONDS)


async def in_thread(call: Callable[[], _Result], keep: Callable[[_Result], None]) -> _Result:
    """
    Make a call that may claim leads in a thread of its own, and return what it returns.

    :param keep: gets that if the caller is cancelled meanwhile: a thread cannot be ended, and what
        it still claims would belong to nobody until the lease is over
    """
    calling = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):  # what has ended this task is the reason to tell
            keep(await calling)
        raise


@contextlib.contextmanager
def heeding_signals(heed: Callable[[BaseException], None]) -> Iterator[None]:
    """
    Pass on what signals' handlers raise, such as the end of the task's `execution_timeout`.

    A signal comes in the middle of anything. Raised there, between the start of a thread and the
    wait for it, it would leave nobody who takes what the thread claims.

    :param heed: told of it, once for each time; in the main thread
    """

    def quiet(handler: Callable[[int, FrameType | None], object]) -> Callable[..., None]:
        def handle(signum: int, frame: FrameType | None) -> None:
            try:
                handler(signum, frame)
            except BaseException as reason:  # noqa: BLE001  a timeout is not an Exception
                heed(reason)

        return handle

    before = {}
    if threading.current_thread() is threading.main_thread():  # elsewhere no handler is called
        for signum in signal.valid_signals():
            handler = signal.getsignal(signum)
            if callable(handler) and handler is not signal.default_int_handler:  # the Runner's
                before[signum] = handler
                signal.signal(signum, quiet(handler))
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


@contextlib.contextmanager
def seldom_collecting() -> Iterator[None]:
    """
    Seldom look for garbage in cycles.

    A lead leaves none, but by default Python would look after each few leads, which takes an
    eighth of the time.
    """
    before = gc.get_threshold()
    gc.set_threshold(*_COLLECTIONS)
    try:
        yield
    finally:
        gc.set_threshold(*before)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """Return uvloop's where it has a build, and asyncio's own elsewhere."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


def first_problem(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return what failed first: the other tasks were cancelled because of it."""
    problem: BaseException = group
    while isinstance(problem, BaseExceptionGroup):
        problem = problem.exceptions[0]
    return problem
