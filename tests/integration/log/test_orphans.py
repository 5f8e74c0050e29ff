"""A lead whose task is gone has a sender, and one that waits can be hastened (4.11 and 3.5)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.log.setup import NOON, ZAPIER, delivered, failed, lead
from zbl_provider.log.browse.model import Hastened
from zbl_provider.log.browse.reader import Query
from zbl_provider.log.model import ORPHANED, RunKey, Status
from zbl_provider.log.storage import tables

GONE = RunKey("dag", "task", "gone")
HALF_AN_HOUR = NOON + timedelta(minutes=30)


@pytest.fixture
def gone(setup):
    """Give a run with one lead that waits for its next attempt, and nobody who comes for it."""
    run = setup.run("gone")
    setup.enrol(run, lead("left"))
    setup.settle(run, setup.claim(run), failed(), HALF_AN_HOUR)
    return setup


def claim(setup, run):
    return [lead.lead_id for lead in setup.claim(run, only_own=True)]


def test_what_has_been_due_for_ten_minutes_is_taken_along(gone):
    """A task that minds its own lead takes what nobody comes for, after its own (4.11)."""
    run = gone.run("other")
    gone.enrol(run, lead("own"))
    gone.later(minutes=39, seconds=59)
    assert claim(gone, run) == ["own"]
    gone.later(seconds=1)
    assert claim(gone, run) == ["left"]
    assert gone.row("left").status == Status.SENDING


def test_its_own_lead_comes_first(gone):
    """However many leads nobody comes for, a task claims its own before them (4.11)."""
    gone.later(hours=2)
    run = gone.run("other")
    gone.enrol(run, lead("own"))
    [first] = gone.claim(run, 1, only_own=True)
    assert first.lead_id == "own"


def test_what_is_taken_along_stays_with_its_task(gone):
    """The other task does not answer for it; whoever resends it clears its own task (4.11)."""
    gone.later(hours=2)
    run = gone.run("other")
    gone.settle(run, gone.claim(run, only_own=True), failed())
    assert gone.log.counts(run) == {}
    assert gone.log.counts(gone.run("gone")) == {Status.ERROR: 1}
    assert gone.log.resend([gone.row("left").id], gone.now).runs == (GONE,)


def test_a_task_that_comes_after_all_finds_its_lead_claimed(gone):
    """No lead is sent twice: who has the claim sends it, and the other waits (4.6, 4.11)."""
    gone.later(hours=2)
    other = gone.run("other")
    claimed = gone.claim(other, only_own=True)
    back = gone.run("gone")
    assert claim(gone, back) == []
    assert gone.log.counts(back) == {Status.SENDING: 1}
    assert gone.settle(other, claimed, delivered()) == []
    assert gone.log.counts(back) == {Status.DELIVERED: 1}


def test_a_lead_of_a_worker_that_died_is_no_orphan_yet(gone):
    """Until ten minutes after its lease a lead in flight is its own task's (4.11)."""
    gone.later(minutes=30)
    gone.claim(gone.run("gone"))
    run = gone.run("other")
    gone.later(minutes=10, seconds=59)
    assert claim(gone, run) == []
    gone.later(seconds=1)
    assert claim(gone, run) == ["left"]


def test_what_nobody_can_clear_is_taken_along_at_once(gone):
    """Where the task is gone, a resent lead goes out with the next task of any kind (4.11)."""
    gone.later(minutes=30)
    run = gone.run("gone")
    gone.settle(run, gone.claim(run), failed())
    assert gone.log.resend([gone.row("left").id], gone.now).runs == (GONE,)
    assert claim(gone, gone.run("other")) == []
    gone.log.forget_choice([GONE], gone.now)
    assert claim(gone, gone.run("other")) == ["left"]


def test_what_waits_for_its_time_is_not_given_up_with_a_choice(gone):
    """A task that was not cleared keeps what is not due yet (4.11)."""
    gone.log.forget_choice([GONE], gone.now)
    assert gone.row("left").due_at == HALF_AN_HOUR


def test_send_now_has_a_waiting_lead_due_at_once(gone):
    """The attempts that it has made count, and its task is named to be cleared (3.5)."""
    id_ = gone.row("left").id
    assert gone.log.count_waiting(Query(integration=ZAPIER)) == 1
    assert gone.log.send_now([id_], gone.now) == Hastened(1, (GONE,), None)
    [claimed] = gone.claim(gone.run("other"))
    assert claimed.attempt == 2


def test_the_clear_that_follows_sends_what_was_chosen(gone):
    """Other leads of that task are not touched by it, as after a resend (3.5, 8.4)."""
    run = gone.run("gone")
    gone.fail(run, lead("failed"))
    gone.log.send_now([gone.row("left").id], gone.now)
    cleared = gone.run("gone", epoch=1)
    assert cleared.chosen
    gone.log.reopen(cleared, 1, gone.now)
    assert gone.row("failed").status == Status.ERROR


def test_send_now_leaves_the_others(gone):
    """What is settled, or being sent, is nobody's to hasten (3.5)."""
    run = gone.run("gone")
    gone.deliver(run, lead("done"))
    gone.enrol(run, lead("sending"))
    gone.claim(run)
    before = gone.rows(), gone.rows(tables.run)
    numbers = [gone.row("done").id, gone.row("sending").id, 999]
    assert gone.log.send_now(numbers, gone.now) == Hastened(0, (), None)
    assert (gone.rows(), gone.rows(tables.run)) == before


def test_send_now_goes_through_very_many_in_steps(setup):
    """Each step is bounded, and says where the next one goes on (3.5)."""
    run = setup.run()
    setup.enrol(run, *(lead(f"{n}") for n in range(5)))
    counts, after = [], 0
    while after is not None:
        step = setup.log.send_now(Query(integration=ZAPIER), setup.now, limit=2, after=after)
        after = step.after
        counts.append(step.count)
    assert counts == [2, 2, 1]


def test_orphaned_is_ten_minutes():
    """The contract says so (4.11)."""
    assert timedelta(minutes=10) == ORPHANED
