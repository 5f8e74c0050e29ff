"""
A worker in a process of its own, which dies or stops exactly when it is told to.

What is found and sent is the real thing; only this process wraps some of it, so as to be hit at a
certain step.
"""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import secrets
import signal
import time
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from sqlalchemy import Engine, event

import zbl_provider.dispatch.drain
import zbl_provider.log.outbox.claim
from tests.integration.dispatch.conftest import LOOPBACK, key, lead
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.delivery.transport import Transport
from zbl_provider.dispatch.dispatcher import Dispatcher, Policy, utc_now
from zbl_provider.dispatch.follow import Follow
from zbl_provider.dispatch.intake import find
from zbl_provider.exceptions import DispatchStopped
from zbl_provider.log.storage.retry import TASK_RETRY
from zbl_provider.log.store import DeliveryLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from ctypes import c_double

    from zbl_provider.dispatch.intake import FoundRow

# A worker is forked off a process that has imported everything already: within milliseconds.
_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])

_LOOK_SECONDS, _LOOKS_TO_ALL = 0.05, 8


@dataclass(frozen=True)
class Step:
    """
    Where a worker is hit.

    :param call: a method of the delivery log, `send`, or `look` of a worker that follows
    :param moment: `before` it, `after` it, or at the `commit` of its transaction
    :param nth: which call of it
    :param blow: the signal
    """

    call: str
    moment: str
    nth: int = 1
    blow: int = signal.SIGKILL

    def __str__(self) -> str:
        return f"{self.moment} {self.call} {self.nth}"


@dataclass(frozen=True, kw_only=True)
class Job:
    """
    What a worker does, as a task of Airflow would.

    :param leads: the ids that its query finds
    :param follow: how many seconds it stays, if it does: its query finds some leads more each time
    :param step: where it is hit; None leaves it alone
    :param name: begins the tokens of its claims
    """

    log_url: str
    url: str
    authority: str
    run: str
    leads: tuple[int, ...] = ()
    follow: float | None = None
    epoch: int = 0
    concurrency: int = 4
    waits: tuple[float, ...] = (60, 300, 900, 1800)
    resend_all: bool = False
    step: Step | None = None
    name: str = ""


class Worker:
    """
    A process that does a job; killed, if it still lives, at the end of its `with` block.

    :param job: what it does
    """

    def __init__(self, job: Job) -> None:
        self.job = job
        # Without a lock: a process that is stopped might hold it.
        self.ahead = _processes.Value("d", 0.0, lock=False)
        self._process = _processes.Process(target=_work, args=(job, self.ahead), daemon=True)

    def __enter__(self) -> Self:
        self._process.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    @property
    def alive(self) -> bool:
        return self._process.is_alive()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait(self, seconds: float = 60) -> int | None:
        """Wait for its end; return its exit code, or less than 0 for the signal that killed it."""
        self._process.join(seconds)
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


def _work(job: Job, ahead: c_double) -> None:
    log = DeliveryLog(job.log_url, retry_for=TASK_RETRY)
    zbl_provider.log.outbox.claim.secrets = _Named(job.name)
    looks = _Growing(job.leads)
    if job.step:
        _arm(job.step)
    extra = {"verify": job.authority, "max_concurrency": job.concurrency}
    destination = Destination.parse(integration="zapier", host=job.url, extra=extra)
    dispatcher = Dispatcher(
        log=log,
        destination=destination,
        guard=LOOPBACK,
        policy=Policy(schedule=Schedule.parse(job.waits), resend_all=job.resend_all),
        clock=lambda: utc_now() + timedelta(seconds=ahead.value),
    )
    signal.signal(signal.SIGTERM, lambda *_: dispatcher.stop())  # as Airflow has it
    follow = None
    if job.follow:
        follow = Follow(looks, timedelta(seconds=job.follow), _LOOK_SECONDS, lambda: destination)
    with contextlib.suppress(DispatchStopped):
        dispatcher.dispatch(key(job.run), job.epoch, map(lead, job.leads), follow=follow)
    log.close()


class _Growing:
    """A query that finds more each time it is run, until it finds all."""

    def __init__(self, leads: tuple[int, ...]) -> None:
        self._leads = leads
        self._looks = 0

    def __call__(self) -> Iterator[FoundRow]:
        return self.look()

    def look(self) -> Iterator[FoundRow]:
        self._looks += 1
        leads = self._leads[: len(self._leads) * self._looks // _LOOKS_TO_ALL]
        return find(
            ((("id", "email"), (lead_id, f"{lead_id}@example.com")) for lead_id in leads), None
        )

    def close(self) -> None:
        """Let go of nothing."""


class _Named:
    """Makes the tokens of claims, which tell whose they are."""

    def __init__(self, name: str) -> None:
        self._name = name

    def token_hex(self, length: int) -> str:
        return f"{self._name}:{secrets.token_hex(length)}"


def _arm(step: Step) -> None:
    if step.call == "send":
        zbl_provider.dispatch.drain.Transport = _doomed_transport(step)
        return
    # Of the thread, or of the event loop's task, that makes the call.
    inside = ContextVar("inside", default=False)
    numbers = itertools.count(1)
    hit = _Growing if step.call == "look" else DeliveryLog
    method: Callable[..., object] = getattr(hit, step.call)

    def doomed(self, *args, **options):
        if next(numbers) != step.nth:
            return method(self, *args, **options)
        _strike(step, "before")
        inside.set(True)
        try:
            return method(self, *args, **options)
        finally:
            inside.set(False)
            _strike(step, "after")

    setattr(hit, step.call, doomed)

    def at_commit(*_):
        if inside.get():
            inside.set(False)  # once: a stopped worker may try again when it goes on
            _strike(step, "commit")

    def at_statement(_connection, _cursor, statement, *_):
        if statement.startswith("WITH rows AS"):  # which is a transaction by itself
            at_commit()

    # Called just before the driver commits.
    event.listen(Engine, "commit", at_commit)
    event.listen(Engine, "before_cursor_execute", at_statement)


def _doomed_transport(step: Step) -> type[Transport]:
    numbers = itertools.count(1)

    class Doomed(Transport):
        async def send(self, request):
            mine = next(numbers) == step.nth
            if mine:
                _strike(step, "before")
            answer = await super().send(request)
            if mine:
                _strike(step, "after")
            return answer

    return Doomed


def _strike(step: Step, moment: str) -> None:
    if step.moment == moment:
        os.kill(os.getpid(), step.blow)
        # A stop takes a moment to reach every thread; this one is to get no further meanwhile.
        time.sleep(1)
