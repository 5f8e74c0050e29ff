"""Whatever happens in whatever order, a watched lead is delivered (Contract 8.2)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    precondition,
    rule,
    run_state_machine_as_test,
)

from tests.integration.log.setup import LEASE, NOON, delivered, failed
from zbl_provider.delivery.destination import Destination
from zbl_provider.dispatch.intake import candidate, read
from zbl_provider.log.model import RunKey, Settlement
from zbl_provider.log.store import DeliveryLog
from zbl_provider.triggers.announcing import Announcements
from zbl_provider.watch.backlog import sum_up

ZAPIER = Destination.parse(
    integration="zapier", host="https://hooks.example.com/", extra={"min_score": 70}
)
COLUMNS = ("id", "score", "qualified_at")
DEATHS = ["before it began", "enrolled", "claimed", "sent"]
QUALIFYING, TOO_LOW = 80, 50


class Watched(RuleBasedStateMachine):
    """
    Transactions that commit in any order, a triggerer that is restarted, runs that die.

    The Dag has one run at a time, which does not wait for its retries.
    """

    log: DeliveryLog  # set by whoever runs the machine

    def __init__(self):
        super().__init__()
        self.now = NOON
        self.open = {}  # transactions: rows that nobody sees yet
        self.table = {}
        self.runs = 0
        self.asked_for = False
        self.answered = []
        self.in_doubt = set()
        self.restart()

    # The application

    @initialize(late=st.integers(0, 2), seen=st.integers(1, 3))
    def there_are_some(self, late, seen):
        for _ in range(late + seen):
            self.begin(QUALIFYING)
        for lead_id in list(self.open)[late:]:
            self.table[lead_id] = self.open.pop(lead_id)

    @rule(score=st.sampled_from([QUALIFYING, TOO_LOW]))
    def begin(self, score):
        lead_id = len(self.open) + len(self.table)
        self.open[lead_id] = (lead_id, score, self.now)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def commit(self, data):
        lead_id = data.draw(st.sampled_from(sorted(self.open)))
        self.table[lead_id] = self.open.pop(lead_id)

    @precondition(lambda self: self.table)
    @rule(data=st.data())
    def qualify_after_all(self, data):
        lead_id = data.draw(st.sampled_from(sorted(self.table)))
        self.table[lead_id] = (lead_id, QUALIFYING, self.now)

    # Airflow

    @rule(seconds=st.sampled_from([1, 20, 60, 600]))
    def wait(self, seconds):
        self.now += timedelta(seconds=seconds)

    @rule()
    def look(self):
        backlog = sum_up(self.rows(), None, ZAPIER, self.log, self.now)
        if self.announcements.due(backlog.keys, (self.now - NOON).total_seconds()):
            self.asked_for = True

    @rule(death=st.sampled_from(DEATHS), answer=st.booleans())
    def look_and_die(self, death, answer):
        self.look()
        if self.asked_for:
            self.run(death, answer)

    @rule()
    def restart(self):
        self.announcements = Announcements()

    @rule()
    def look_from_two_triggerers(self):
        self.look()
        kept, self.announcements = self.announcements, Announcements()
        self.look()
        self.announcements = kept

    @precondition(lambda self: self.asked_for)
    @rule(death=st.sampled_from([None, *DEATHS]), answer=st.booleans())
    def run(self, death, answer):
        self.asked_for = False
        self.runs += 1
        if death == "before it began":
            return
        run = self.log.begin(RunKey("dag", "task", f"{self.runs}"), "zapier", 0, self.now)
        candidates = [candidate(lead, ZAPIER) for lead in read(self.rows(), None)]
        self.log.enrol(run, "zapier", candidates, self.now)
        while death != "enrolled" and (
            claimed := self.log.claim("zapier", 2, self.now, LEASE, run=run)
        ):
            if death == "claimed":
                return
            sent = [lead.lead_id for lead in claimed]
            self.answered += sent if answer else []
            if death == "sent":
                self.in_doubt |= set(sent)
                return
            due_at = None if answer else self.now + timedelta(minutes=1)
            outcome = delivered() if answer else failed()
            self.log.settle([Settlement(lead, outcome, self.now, due_at) for lead in claimed], run)

    def rows(self):
        return [(COLUMNS, values) for values in self.table.values()]

    # What must hold in the end

    def teardown(self):
        # What is open still is rolled back: nothing new may help what was left behind.
        for _ in range(30):
            self.now += timedelta(minutes=10)
            self.look()
            if self.asked_for:
                self.run(None, True)
        wanted = {str(lead_id) for lead_id, score, _ in self.table.values() if score == QUALIFYING}
        assert set(self.answered) == wanted
        repeated = {lead_id for lead_id in self.answered if self.answered.count(lead_id) > 1}
        assert repeated <= self.in_doubt
        assert not self.asked_for
        assert not self.log.overdue("zapier", self.now, self.now)


@pytest.mark.parametrize("log_url", ["sqlite"], indirect=True)
def test_no_history_loses_a_watched_lead(log_url):
    """Late commits, commits out of order, restarts, two triggerers, runs that die (8.2, 6.2)."""
    log = DeliveryLog(log_url)

    class Fresh(Watched):
        def __init__(self):
            with log._engine.begin() as connection:
                for table in ("delivery", "run", "run_delivery", "attempt", "integration"):
                    connection.exec_driver_sql(f"DELETE FROM zbl_{table}")
            self.log = log
            super().__init__()

    run_state_machine_as_test(
        Fresh,
        settings=settings(
            max_examples=100,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    log.close()
