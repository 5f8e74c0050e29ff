"""Whatever happens in whatever order, the log keeps its promises (Contract 6.2)."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    initialize,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)
from sqlalchemy import delete

from tests.databases import empty_database
from tests.integration.log.bench import Bench, delivered, failed, lead
from zbl_provider.log import tables
from zbl_provider.log.model import OPEN, Status
from zbl_provider.log.store import DeliveryLog

ATTEMPTS = 3
WAIT = timedelta(seconds=60)
IDS = [f"{number}" for number in range(6)]

runs = st.sampled_from(["first", "second", "third"])
verdicts = st.sampled_from([Status.PENDING, Status.PENDING, Status.FILTERED, Status.INVALID])
candidates = st.builds(
    lambda lead_id, status, fingerprint: lead(
        lead_id,
        status=status,
        reason=None if status is Status.PENDING else "r",
        fingerprint=fingerprint,
    ),
    st.sampled_from(IDS),
    verdicts,
    st.sampled_from(["f1", "f2"]),
)


class Histories(RuleBasedStateMachine):
    """Runs that enrol, claim, settle, die and are cleared, in any order; time goes on between."""

    log: DeliveryLog  # set by whoever runs the machine

    claims = Bundle("claims")

    def __init__(self):
        super().__init__()
        self.bench = Bench(self.log)
        self.epochs = {}
        self.enrolled = set()
        self.owners = {}  # claim token by delivery, as far as a claim was given out
        with self.log._engine.begin() as connection:
            for table in tables.metadata.sorted_tables:
                connection.execute(delete(table))

    @initialize()
    def begin(self):
        """Give the first claim something to find."""
        self.bench.enrol(self.run_of("first"), *map(lead, IDS[:3]))
        self.enrolled |= set(IDS[:3])

    def run_of(self, name):
        return self.bench.run(name, self.epochs.get(name, 0))

    @rule(
        name=runs,
        found=st.lists(candidates, max_size=4),
        delivered_too=st.booleans(),
        errors_too=st.booleans(),
        refresh=st.booleans(),
    )
    def enrol(self, name, found, delivered_too, errors_too, refresh):
        before = {row.lead_id: row for row in self.bench.rows()}
        enrolment = self.bench.enrol(
            self.run_of(name),
            *found,
            resend_delivered=delivered_too,
            resend_errors=errors_too,
            refresh_delivered=refresh,
        )
        counted = (
            enrolment.new
            + enrolment.joined
            + enrolment.skipped
            + enrolment.unchanged
            + enrolment.repeated
        )
        assert counted == len(found)
        self.enrolled |= {one.lead_id for one in found}
        for row in self.bench.rows():
            old = before.get(row.lead_id)
            if old and old.status != row.status:
                assert old.status != Status.DELIVERED or delivered_too, "resent without leave"
                assert old.status != Status.ERROR or errors_too, "resent without leave"

    @rule(target=claims, name=runs, limit=st.integers(1, 4), only_own=st.booleans())
    def claim(self, name, limit, only_own):
        before = {row.id: row for row in self.bench.rows()}
        claimed = self.bench.claim(self.run_of(name), limit, only_own=only_own)
        for one in claimed:
            old = before[one.delivery_id]
            assert old.status in OPEN, "a settled lead was claimed"
            assert old.due_at <= self.bench.now, "a lead was claimed before it was due"
            assert one.attempt == old.attempts + 1
            assert one.body == f"{one.lead_id} {old.fingerprint}".encode()
            self.owners[one.delivery_id] = one.claim
        return multiple(*claimed)

    @rule(name=runs, claimed=claims, well=st.booleans())
    def settle(self, name, claimed, well):
        [before] = [row for row in self.bench.rows() if row.id == claimed.delivery_id]
        attempts = len(self.bench.rows(tables.attempt))
        again = None if well or claimed.attempt >= ATTEMPTS else self.bench.now + WAIT
        outcome = delivered() if well else failed()
        fenced = self.bench.settle(self.run_of(name), [claimed], outcome, again)
        holds = before.status == Status.SENDING and before.claim == claimed.claim
        assert bool(fenced) != holds, "a stale claim settled, or a live one did not"
        assert len(self.bench.rows(tables.attempt)) == attempts + holds

    @rule(claimed=claims)
    def release(self, claimed):
        [before] = [row for row in self.bench.rows() if row.id == claimed.delivery_id]
        self.bench.log.release([claimed], self.bench.now)
        [after] = [row for row in self.bench.rows() if row.id == claimed.delivery_id]
        if before.claim != claimed.claim:
            assert after == before, "a stale claim released"

    @rule(name=runs, everything=st.booleans())
    def clear(self, name, everything):
        self.epochs[name] = self.epochs.get(name, 0) + 1
        run = self.run_of(name)
        assert run.cleared
        own = sum(self.log.counts(run).values())
        reopened = self.log.reopen(run, self.epochs[name], self.bench.now, everything=everything)
        assert reopened.reopened <= own
        assert Status.ERROR not in self.log.counts(run), "a failed lead was left behind"
        assert not self.run_of(name).cleared

    @rule(seconds=st.sampled_from([1, 30, 61]))
    def time_goes_on(self, seconds):
        """Leases run out: to the log a lost worker is one that never comes back."""
        self.bench.later(seconds=seconds)

    @invariant()
    def every_lead_is_there(self):
        assert {row.lead_id for row in self.bench.rows()} == self.enrolled

    @invariant()
    def attempts_are_bounded_and_numbered(self):
        numbers = {}
        for one in self.bench.rows(tables.attempt):
            numbers.setdefault((one.delivery_id, one.resend), []).append(one.number)
        for made in numbers.values():
            assert sorted(made) == list(range(1, len(made) + 1))
            assert len(made) <= ATTEMPTS

    @invariant()
    def rows_are_sound(self):
        for row in self.bench.rows():
            assert (row.due_at is not None) == (row.status in OPEN)
            assert (row.claim is not None) == (row.status == Status.SENDING)
            assert (row.delivered_at is not None) == (row.status == Status.DELIVERED)
            assert row.payload is not None or row.status in {Status.FILTERED, Status.INVALID}
            if row.claim is not None:
                assert row.claim == self.owners[row.id], "a claim nobody was given"

    @invariant()
    def the_answers_agree_with_the_rows(self):
        joined = {(one.run_id, one.delivery_id) for one in self.bench.rows(tables.run_delivery)}
        rows = self.bench.rows()
        assert not joined & {(row.run_id, row.id) for row in rows}, "a lead is owned twice"
        for name in ("first", "second", "third"):
            run = self.run_of(name)
            own = [row for row in rows if row.run_id == run.id or (run.id, row.id) in joined]
            assert self.log.counts(run) == {
                Status(status): sum(row.status == status for row in own)
                for status in {row.status for row in own}
            }
            due = [row.due_at for row in own if row.due_at is not None]
            assert self.log.next_due(run) == min(due, default=None)


def check(url, examples):
    machine = type("Histories", (Histories,), {"log": DeliveryLog(url)})
    machine.log.upgrade()
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
    machine.log.close()


@pytest.mark.timeout(300)
def test_every_history_on_sqlite(tmp_path):
    """No order of enrolling, claiming, settling, dying and clearing breaks the log (6.2)."""
    check(f"sqlite:///{tmp_path / 'log.db'}", examples=100)


@pytest.mark.timeout(300)
def test_every_history_on_postgresql(postgres):
    """The same holds on PostgreSQL (6.1)."""
    with empty_database(postgres) as url:
        check(url, examples=25)
