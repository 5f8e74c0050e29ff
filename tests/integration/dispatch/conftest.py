"""A dispatcher over a real log and a real HTTPS receiver; only the clock is made up."""

from __future__ import annotations

import os
import signal
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import create_engine, text

from tests.support.databases import log_url, postgres
from tests.support.receiver import Received, Receiver, Reply
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
from zbl_provider.leads.lead import read_lead
from zbl_provider.log.model import RunKey
from zbl_provider.log.store import DeliveryLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["log_url", "postgres"]

LOOPBACK = Guard.parse("127.0.0.0/8, ::1/128")


class Clock:
    """A clock that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = datetime(2026, 2, 23, 14, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.now


@dataclass
class Setup:
    """What a test of the dispatcher works with."""

    log: DeliveryLog
    log_url: str
    receiver: Receiver
    authority: str
    clock: Clock = field(default_factory=Clock)
    extra: dict = field(default_factory=dict)
    told: list = field(default_factory=list)

    def answer(self, answer: Callable[[Received], Reply]) -> None:
        self.receiver.answer = answer

    def dispatcher(self, **policy) -> Dispatcher:
        schedule = Schedule.parse(policy.pop("schedule", (60, 300, 900, 1800)))
        destination = Destination.parse(
            integration="zapier",
            host=f"{self.receiver.url}/hook",
            extra={"verify": self.authority, **self.extra},
        )
        return Dispatcher(
            log=self.log,
            destination=destination,
            guard=LOOPBACK,
            policy=Policy(schedule=schedule, **policy),
            clock=self.clock,
            tell=self.told.append,
        )

    def dispatch(self, run="run 1", leads=(), *, epoch=0, resumed=False, may_probe=False, **policy):
        """Dispatch leads given by id, or as leads."""
        leads = [lead(given) if isinstance(given, int) else given for given in leads]
        return self.dispatcher(**policy).dispatch(
            key(run), epoch, leads, resumed=resumed, may_probe=may_probe
        )

    def dispatch_to_the_end(self, run="run 1", leads=(), **options):
        """Dispatch, move the clock to when the next attempt is due, and so on."""
        report = self.dispatch(run, leads, **options)
        while report.due_at:
            self.clock.now = max(self.clock.now, report.due_at)
            report = self.dispatch(run, **options, resumed=True)
        return report

    @property
    def sent(self) -> list[str]:
        """The ids of the leads that the receiver got, in order."""
        return [request.lead_id for request in self.receiver.received]

    def rows(self, query: str) -> list[tuple]:
        engine = create_engine(self.log_url)
        with engine.connect() as connection:
            rows = [tuple(row) for row in connection.execute(text(query))]
        engine.dispose()
        return rows


def key(run: str) -> RunKey:
    return RunKey("dag", "task", run)


def lead(lead_id: int, **fields):
    return read_lead({"id": lead_id, "email": f"{lead_id}@example.com", **fields})


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Give a receiver of the test's own: requests on their way from another can't reach it."""
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def setup(log_url, receiver, tmp_path) -> Iterator[Setup]:
    log = DeliveryLog(log_url)
    yield Setup(log, log_url, receiver, str(receiver.write_authority(tmp_path / "ca.pem")))
    log.close()


class TaskTimeout(BaseException):
    """What Airflow raises, from a signal's handler, at the end of `execution_timeout`."""


@pytest.fixture
def end_it() -> Iterator[Callable[[], None]]:
    """Have a signal end the task, as Airflow does; give what sends it."""

    def end(*_: object) -> None:
        raise TaskTimeout

    signal.signal(signal.SIGUSR1, end)
    yield lambda: os.kill(os.getpid(), signal.SIGUSR1)
    # One that comes late is to end no other test, and by default it would end the process.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)


@pytest.fixture
def together() -> Callable[..., list]:
    """Call functions at the same time and give their results."""

    def call(*functions):
        results = [None] * len(functions)

        def run(place, function):
            results[place] = function()

        threads = [threading.Thread(target=run, args=pair) for pair in enumerate(functions)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return results

    return call


MINUTE = timedelta(minutes=1)
