"""The breaker's state has one owner, whatever a thread reads meanwhile (Contract 8.6)."""

import asyncio
import threading
from dataclasses import dataclass, field

import pytest

from tests.integration.dispatch.conftest import MINUTE
from zbl_provider.delivery.outcome import Outcome, Verdict
from zbl_provider.dispatch.breaker import IN_A_ROW, Breaker, ChangeKind
from zbl_provider.exceptions import DeliveryLogUnavailable

REFUSED = Outcome(Verdict.ERROR, 401, None, "it answered 401", None, 0.1, "")
SILENT = Outcome(Verdict.RETRY, None, "timeout", "no answer in 10 s", None, 10.0, "")
DELIVERED = Outcome(Verdict.DELIVERED, 200, None, "it answered 200", None, 0.1, "")
SECONDS = 10


@dataclass
class Held:
    """Holds back any other thread than the owner's, from where it has read until it may go on."""

    owner: threading.Thread = field(default_factory=threading.current_thread)
    armed: bool = False
    reached: threading.Event = field(default_factory=threading.Event)
    may_go_on: threading.Event = field(default_factory=threading.Event)

    def here(self) -> None:
        if self.armed and threading.current_thread() is not self.owner:
            self.reached.set()
            self.may_go_on.wait(SECONDS)


class Overtaken:
    """Passes all on; whoever reads one attribute in another thread is overtaken."""

    def __init__(self, behind, name, held):
        self._behind, self._name, self._held = behind, name, held

    def __getattr__(self, name):
        value = getattr(self._behind, name)
        if name != self._name:
            return value
        if not callable(value):
            self._held.here()
            return value

        def call(*arguments):
            answer = value(*arguments)
            self._held.here()
            return answer

        return call


@pytest.fixture
def held():
    return Held()


async def overtake(look, held, meanwhile):
    """Look, and do something else between what the look has read and what it makes of that."""
    held.armed = True
    looking = asyncio.ensure_future(look)
    await asyncio.to_thread(held.reached.wait, 1)
    await meanwhile()
    held.may_go_on.set()
    await looking
    held.armed = False


@pytest.mark.parametrize("place", ["log", "destination"])
async def test_a_look_does_not_undo_a_pause_that_it_did_not_see(setup, held, place):
    """Ten 401 while a look is under way open the breaker, and the log says so (8.6)."""
    log, destination = setup.log, setup.dispatcher().destination
    if place == "log":
        log = Overtaken(log, "integration", held)
    else:
        destination = Overtaken(destination, "active", held)
    breaker = Breaker(log, destination, setup.clock)

    async def refuse():
        for _ in range(IN_A_ROW):
            breaker.attempted(REFUSED, None)

    await overtake(breaker.watch(), held, refuse)
    assert breaker.open
    await breaker.record()
    await breaker.watch()
    assert breaker.open
    assert setup.log.integration("zapier").paused_status == REFUSED.status


@pytest.mark.parametrize("recorded", [False, True])
async def test_a_look_does_not_take_an_old_pause_for_a_new_one(setup, held, recorded):
    """The delivered probe closes the breaker, though a look still saw the pause (8.6)."""
    setup.log.pause("zapier", REFUSED.status, setup.clock())
    log = Overtaken(setup.log, "integration", held)
    breaker = Breaker(log, setup.dispatcher().destination, setup.clock)
    assert breaker.half_open

    async def deliver():
        breaker.attempted(DELIVERED, None)
        if recorded:
            await breaker.record()

    await overtake(breaker.watch(), held, deliver)
    assert (breaker.open, breaker.half_open) == (False, False)
    await breaker.record()
    await breaker.watch()
    assert not breaker.open
    assert setup.log.integration("zapier").paused_status is None


async def test_a_task_that_stays_does_not_take_its_own_pause_for_the_end_of_one(setup):
    """It begins anew when somebody has ended the pause, and not before it is in the log (4.12)."""
    breaker = Breaker(setup.log, setup.dispatcher().destination, setup.clock)
    for _ in range(IN_A_ROW):
        breaker.attempted(REFUSED, None)
    assert breaker.open
    assert not breaker.may_close
    await breaker.record()
    assert not breaker.may_close
    await breaker.watch()
    assert not breaker.may_close
    setup.log.resume("zapier")
    await breaker.watch()
    assert breaker.may_close


async def test_a_look_that_was_overtaken_still_sees_a_hold(setup, held):
    """A person's hold counts, whatever the task decided meanwhile (8.4)."""
    setup.log.pause("zapier", REFUSED.status, setup.clock())
    log = Overtaken(setup.log, "integration", held)
    breaker = Breaker(log, setup.dispatcher().destination, setup.clock)
    setup.log.hold("zapier", "Ana", setup.clock())

    async def deliver():
        breaker.attempted(DELIVERED, None)

    await overtake(breaker.watch(), held, deliver)
    assert breaker.open
    assert "Ana" in breaker.held


async def test_a_decision_made_while_another_is_written_is_written_too(setup, held):
    """A probe that is delivered, and ten 401 at once after it, leave a pause in the log (8.6)."""
    setup.log.pause("zapier", 403, setup.clock())
    log = Overtaken(setup.log, "back", held)
    breaker = Breaker(log, setup.dispatcher().destination, setup.clock)
    breaker.attempted(DELIVERED, None)

    async def refuse():
        for _ in range(IN_A_ROW):
            breaker.attempted(REFUSED, None)

    await overtake(breaker.record(), held, refuse)
    assert setup.log.integration("zapier").paused_status == REFUSED.status


class Lost(Overtaken):
    """A log that is away as soon as it has noted an outage."""

    def __getattr__(self, name):
        if name == "integration" and self._behind.integration("zapier").down:
            raise DeliveryLogUnavailable("log", "gone")
        return getattr(self._behind, name)


async def test_people_hear_of_what_the_log_knows(setup, held):
    """No other task tells of it, so this one does, though the log is away since then (8.7)."""
    breaker = Breaker(Lost(setup.log, "", held), setup.dispatcher().destination, setup.clock)
    for _ in range(IN_A_ROW):
        breaker.attempted(SILENT, setup.clock() + MINUTE)
    with pytest.raises(DeliveryLogUnavailable):
        await breaker.record()
    assert [change.kind for change in breaker.changes()] == [ChangeKind.DOWN]
    assert breaker.changes() == []
