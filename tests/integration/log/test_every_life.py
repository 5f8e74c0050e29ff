"""Whatever Airflow makes of a task, a clear is told from all else (Contract 4.10)."""

from __future__ import annotations

import itertools

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete

from tests.integration.log.setup import ZAPIER, Setup
from zbl_provider.log.model import RunKey, TaskTry
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog

KEY = RunKey("dag", "task", "run")
DONE = ("failed", "success")
fates = st.sampled_from(["begins", "begins", "lost", "lost in its beginning"])


class Lives(RuleBasedStateMachine):
    """
    One task instance as Airflow 3.2 to 3.3 numbers its tries, and what the log takes them for.

    ``max_tries`` is set when the run is made and at a clear; each try has a number and an id of its
    own; a deferred task comes back under those that it had.
    """

    log: DeliveryLog  # set by whoever runs the machine

    def __init__(self):
        super().__init__()
        self.setup = Setup(self.log)
        with self.log._engine.begin() as connection:
            connection.execute(delete(tables.run))
        self.ids = map(str, itertools.count())
        self.run_started_at = self.setup.now
        self.retries = 2
        self.is_known = False  # to the log
        self.make()

    def make(self):
        self.id, self.number, self.max_tries, self.clears = next(self.ids), 0, self.retries, 0
        self.life_retries = self.retries  # those that max_tries was made of
        self.state = "none"
        self.cleared = self.restarted = False  # and the log has not acted on it
        self.ended = False  # as the log knows, since it has acted on a clear

    def restart(self):
        self.setup.later(seconds=1)
        self.run_started_at = self.setup.now
        self.restarted = True

    def at(*states):
        return precondition(lambda self: self.state in states)

    @rule(retries=st.integers(0, 3))
    def change_retries(self, retries):
        self.retries = retries

    @initialize()
    def come_to_the_log(self):
        self.start("begins")

    @at("none", "up_for_retry")
    @rule(fate=fates)
    def start(self, fate):
        """Have a worker begin, or be lost before it comes to the log, or before it acts."""
        self.number += 1
        self.state = "running"
        if fate != "lost":
            self.begin()
        if fate != "begins":
            self.fail()

    @at("deferred")
    @rule()
    def resume(self):
        self.state = "running"
        self.begin()

    def task_try(self):
        return TaskTry(self.id, self.number, self.retries, self.run_started_at, self.clears)

    def begin(self):
        self.run = self.log.begin(KEY, ZAPIER, self.max_tries, self.setup.now, self.task_try())
        is_same = self.retries == self.life_retries
        if not self.is_known:
            assert not self.run.cleared, "there is nothing to send again"
            self.cleared = self.restarted = False
        elif self.cleared and (is_same or self.restarted):
            assert self.run.cleared, "a clear was swallowed"
        elif not self.cleared and (is_same or not (self.ended or self.clears)):
            assert not self.run.cleared, "a retry was taken for a clear"
        self.is_known = True

    @precondition(lambda self: self.state == "running" and self.run.cleared)
    @rule()
    def act(self):
        """Until it has acted on a clear a worker may be lost, and the next one does it."""
        self.log.reopen(self.run, self.max_tries, self.setup.now)
        self.run = self.log.begin(KEY, ZAPIER, self.max_tries, self.setup.now, self.task_try())
        assert not self.run.cleared
        self.cleared = self.restarted = self.ended = False

    @precondition(lambda self: self.state == "running" and not self.run.cleared)
    @rule()
    def defer(self):
        self.cleared = self.restarted = False  # as far as anybody can tell
        self.state = "deferred"

    @precondition(lambda self: self.state == "running" and not self.run.cleared)
    @rule(state=st.sampled_from(DONE), is_heard=st.booleans())
    def end(self, state, is_heard):
        self.log.end(self.run, self.setup.now)
        self.cleared, self.restarted, self.ended = False, False, True
        if is_heard:
            self.state = state
        else:
            self.fail()

    @at("running")
    @rule()
    def lose_the_worker(self):
        self.fail()

    def fail(self):
        if self.number <= self.max_tries:
            self.id, self.state = next(self.ids), "up_for_retry"
        else:
            self.state = "failed"

    @at("running", "deferred", "up_for_retry", "none", *DONE)
    @rule(state=st.sampled_from(DONE))
    def mark(self, state):
        """Have a person end it, or a timeout of the Dag run: the log does not hear of it."""
        self.state = state

    @at("deferred", "up_for_retry", *DONE)
    @rule(others_run=st.booleans(), fate=fates)
    def clear(self, others_run, fate):
        self.clears += 1
        if self.state in DONE and not others_run:
            self.restart()
        self.id, self.state = next(self.ids), "none"
        self.max_tries = self.number + self.retries
        self.life_retries = self.retries
        self.cleared = self.is_known
        self.start(fate)

    @rule()
    def clear_another_task(self):
        self.clears += 1

    @at("none", *DONE)
    @rule(fate=fates)
    def make_anew(self, fate):
        known = self.is_known
        self.make()
        self.restart()
        self.cleared = known
        self.start(fate)


def test_every_life_of_a_task(tmp_path):
    """Retries, waits, lost workers, marks: a clear alone, or a new run, sends again (4.10)."""
    log = DeliveryLog(f"sqlite:///{tmp_path / 'log.db'}")
    log.upgrade()
    machine = type("Lives", (Lives,), {"log": log})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=200,
            stateful_step_count=20,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    log.close()
