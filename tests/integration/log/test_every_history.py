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

from tests.integration.log.setup import LEASE, ZAPIER, Setup, delivered, failed, lead
from tests.support.databases import empty_database
from zbl_provider.log.model import (
    OPEN,
    ORPHANED,
    PROBE_PAUSE,
    WAITING,
    Reopened,
    RunKey,
    Settlement,
    Status,
)
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog

ATTEMPTS = 3
OUTAGE = ("begin_outage", "lift_outage")
WAIT = timedelta(seconds=60)
IDS = [f"{n}" for n in range(6)]
# What is kept back is sent from its row, if ever; what was delivered may have been cleared since.
WITHOUT_PAYLOAD = {Status.FILTERED, Status.INVALID, Status.DELIVERED}

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
    kept_back = False  # by a hold or a pause
    is_troubled = False  # people have heard of a pause or an outage, and not that it is back
    probed_at = None  # when it was last tried with a lead that had not been tried

    def __init__(self):
        super().__init__()
        self.setup = Setup(self.log)
        self.epochs = {}
        self.enrolled = set()
        self.owners = {}  # claim token by delivery, as far as a claim was given out
        with self.log._engine.begin() as connection:
            for table in tables.metadata.sorted_tables:
                if table is not tables.salt:  # it is the log's own, made with its tables
                    connection.execute(delete(table))

    @initialize()
    def begin(self):
        """Give the first claim something to find."""
        self.setup.enrol(self.run_of("first"), *map(lead, IDS[:3]))
        self.enrolled |= set(IDS[:3])

    def run_of(self, name):
        return self.setup.run(name, self.epochs.get(name, 0))

    @rule(
        name=runs,
        batch=st.lists(candidates, max_size=4),
        delivered_too=st.booleans(),
        errors_too=st.booleans(),
        refresh=st.booleans(),
    )
    def enrol(self, name, batch, delivered_too, errors_too, refresh):
        before = {row.lead_id: row for row in self.setup.rows()}
        enrolment = self.setup.enrol(
            self.run_of(name),
            *batch,
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
        assert counted == len(batch)
        self.enrolled |= {lead.lead_id for lead in batch}
        for row in self.setup.rows():
            old = before.get(row.lead_id)
            if old and old.status != row.status:
                assert old.status != Status.DELIVERED or delivered_too, "resent without leave"
                assert old.status != Status.ERROR or errors_too, "resent without leave"

    @rule(target=claims, name=runs, batch=st.lists(candidates, max_size=4))
    def enrol_and_claim(self, name, batch):
        known = {row.lead_id for row in self.setup.rows()}
        now = self.setup.now
        run = self.run_of(name)
        claimed = self.log.enrol(run, ZAPIER, batch, now, lease=LEASE).claimed
        to_send = {lead.lead_id: lead for lead in reversed(batch) if lead.lead_id not in known}
        assert {lead.lead_id for lead in claimed} == {
            lead_id for lead_id, lead in to_send.items() if lead.status is Status.PENDING
        }, "what is new, and nothing else"
        self.enrolled |= {lead.lead_id for lead in batch}
        return self.given_out(claimed)

    @rule(target=claims, name=runs, batch=st.lists(candidates, max_size=4))
    def look_again(self, name, batch):
        """Follow: ask for the delivered ones by their ids, and claim the new ones as they come."""
        run = self.run_of(name)
        before = {row.webhook_id: row for row in self.setup.rows()}
        own = {key for key, row in before.items() if row.id in self.own(run)}
        delivered_ones = {key for key, row in before.items() if row.status == Status.DELIVERED} & {
            judged.webhook_id for judged in batch
        }
        asked = self.log.unsettled(
            [judged.webhook_id for judged in batch], (Status.DELIVERED,), run
        )
        assert asked.webhook_ids == {judged.webhook_id for judged in batch} - delivered_ones
        assert asked.own == delivered_ones & own
        rest = [judged for judged in batch if judged.webhook_id in asked.webhook_ids]
        enrolment = self.log.enrol(run, ZAPIER, rest, self.setup.now, lease=LEASE)
        self.enrolled |= {judged.lead_id for judged in batch}
        now = {row.webhook_id: row for row in self.setup.rows()}
        assert {key: now[key] for key in delivered_ones} == {
            key: before[key] for key in delivered_ones
        }
        assert {judged.webhook_id for judged in enrolment.claimed}.isdisjoint(before)
        again = self.log.enrol(run, ZAPIER, rest, self.setup.now, lease=LEASE)
        assert (again.new, again.joined, again.claimed) == (0, 0, ()), "an unchanged row is news"
        return self.given_out(enrolment.claimed)

    @rule(
        target=claims,
        name=runs,
        limit=st.integers(1, 4),
        only_own=st.booleans(),
        probe=st.booleans(),
        retries_only=st.booleans(),
    )
    def claim(self, name, limit, only_own, probe, retries_only):
        before = {row.id: row for row in self.setup.rows()}
        state = self.log.integration(ZAPIER)
        claimed = self.log.claim(
            ZAPIER,
            limit,
            self.setup.now,
            LEASE,
            run=self.run_of(name),
            only_own=only_own,
            probe=probe,
            retries_only=retries_only,
        )
        if state.held:
            assert claimed == [], "a held lead was claimed"
        elif state.paused:
            under_way = [
                row
                for row in before.values()
                if row.status == Status.SENDING and row.due_at > self.setup.now
            ]
            rests = bool(self.probed_at and self.setup.now < self.probed_at + PROBE_PAUSE)
            may = probe and not under_way and (only_own or not rests)
            assert len(claimed) <= may, "a paused lead was claimed"
            if claimed and not only_own:
                self.probed_at = self.setup.now
        elif state.down:
            self.check_outage(before.values(), claimed, probe=probe and not retries_only)
        assert not retries_only or all(lead.attempt > 1 for lead in claimed)
        own = self.own(self.run_of(name))
        for taken in claimed:
            old = before[taken.delivery_id]
            assert old.status in OPEN, "a settled lead was claimed"
            if only_own and old.due_at > self.setup.now - ORPHANED:
                assert taken.delivery_id in own, "a lead that its own task minds was claimed"
            assert only_own or taken.delivery_id in own
            assert old.due_at <= self.setup.now, "a lead was claimed before it was due"
            assert taken.attempt == old.attempts + 1
            assert taken.body == f"{taken.lead_id} {old.fingerprint}".encode()
        return self.given_out(claimed)

    def check_outage(self, before, claimed, *, probe):
        """Of a destination that is down only tried leads go on, or else one is tried (8.7)."""
        now = self.setup.now
        tried = [row for row in before if row.status in OPEN and row.attempts]
        if tried or not probe or (self.probed_at and now < self.probed_at + PROBE_PAUSE):
            assert all(lead.attempt > 1 for lead in claimed), "a lead was tried for the first time"
        else:
            assert len(claimed) <= 1
            self.probed_at = now if claimed else self.probed_at

    @rule(target=claims, name=runs)
    def crash(self, name):
        """All workers die: another has what they held as soon as their leases are over."""
        before = {row.id: row for row in self.setup.rows()}
        lost = {id_ for id_, row in before.items() if row.status == Status.SENDING}
        self.setup.later(seconds=60)
        claimed = self.setup.claim(self.run_of(name))
        if self.kept_back:
            assert claimed == []
        else:
            if self.log.integration(ZAPIER).down:
                lost = {id_ for id_ in lost if before[id_].attempts}
            assert lost <= {lead.delivery_id for lead in claimed}, "a lead was left with the dead"
        for taken in claimed:
            assert taken.attempt == before[taken.delivery_id].attempts + 1, (
                "a death cost an attempt"
            )
            assert taken.claim != before[taken.delivery_id].claim
        return self.given_out(claimed)

    def given_out(self, claimed):
        self.owners |= {lead.delivery_id: lead.claim for lead in claimed}
        return multiple(*claimed)

    @rule(name=runs, group=st.lists(st.tuples(claims, st.booleans()), min_size=1, max_size=4))
    def settle(self, name, group):
        attempts = len(self.setup.rows(tables.attempt))
        settlements = [self.settlement(claimed, well=well) for claimed, well in group]
        # Of two outcomes of one lead the first counts; a stale one does not use up a live claim.
        held = {row.id: row.claim for row in self.setup.rows() if row.status == Status.SENDING}
        late = []
        for settlement in settlements:
            if held.get(settlement.claimed.delivery_id) == settlement.claimed.claim:
                del held[settlement.claimed.delivery_id]
            else:
                late.append(settlement)
        fenced = self.log.settle(settlements, self.run_of(name))
        assert fenced == late, "a stale claim settled, or a live one did not"
        assert len(self.setup.rows(tables.attempt)) == attempts + len(group) - len(late)

    def own(self, run):
        joined = {(row.run_id, row.delivery_id) for row in self.setup.rows(tables.run_delivery)}
        rows = self.setup.rows()
        return {row.id for row in rows if row.run_id == run.id or (run.id, row.id) in joined}

    def settlement(self, claimed, *, well):
        again = None if well or claimed.attempt >= ATTEMPTS else self.setup.now + WAIT
        return Settlement(claimed, delivered() if well else failed(), self.setup.now, again)

    @rule(claimed=claims)
    def release(self, claimed):
        [before] = [row for row in self.setup.rows() if row.id == claimed.delivery_id]
        self.setup.log.release([claimed], self.setup.now)
        [after] = [row for row in self.setup.rows() if row.id == claimed.delivery_id]
        if before.claim != claimed.claim:
            assert after == before, "a stale claim released"

    @rule(name=runs, everything=st.booleans(), has_ended=st.booleans())
    def clear(self, name, everything, has_ended):
        """Airflow's `max_tries` shows most clears, and that the run had ended shows the others."""
        if has_ended:
            self.log.end(self.run_of(name), self.setup.now)
        else:
            self.epochs[name] = self.epochs.get(name, 0) + 1
        run = self.run_of(name)
        assert run.cleared
        own = sum(self.log.counts(run).values())
        self.log.forget_invalid(run, self.setup.now)
        assert Status.INVALID not in self.log.counts(run)
        epoch = self.epochs.get(name, 0)
        reopened = self.log.reopen(run, epoch, self.setup.now, everything=everything)
        assert reopened.reopened <= (0 if run.chosen else own)
        if not run.chosen:
            assert Status.ERROR not in self.log.counts(run), "a failed lead was left behind"
        assert not self.run_of(name).cleared
        for row in self.setup.rows():
            if row.id in self.own(run) and row.status == Status.RETRYING and not run.chosen:
                assert row.due_at <= self.setup.now, "a clear left a lead to wait"
        self.probed_at = None
        again = self.log.reopen(run, epoch, self.setup.now, everything=everything)
        assert again == Reopened(0, 0), "a clear was acted on twice"

    @rule(chosen=st.lists(st.integers(0, len(IDS) - 1), unique=True, max_size=3))
    def resend(self, chosen):
        before = {row.id: row for row in self.setup.rows()}
        numbers = [id_ for place, id_ in enumerate(sorted(before)) if place in chosen]
        sendable = {
            id_
            for id_ in numbers
            if before[id_].status in {Status.ERROR, Status.DELIVERED}
            and before[id_].payload is not None
        }
        self.log.resend(numbers, self.setup.now)
        for row in self.setup.rows():
            old = before[row.id]
            if row.id in sendable:
                assert (row.status, row.attempts) == (Status.PENDING, 0)
                assert row.resend == old.resend + 1
            else:
                assert row == old, "a lead was sent again that nobody chose, or that is under way"

    @rule(chosen=st.lists(st.integers(0, len(IDS) - 1), unique=True, max_size=3))
    def send_now(self, chosen):
        before = {row.id: row for row in self.setup.rows()}
        numbers = [id_ for place, id_ in enumerate(sorted(before)) if place in chosen]
        done = self.log.send_now(numbers, self.setup.now)
        waiting = {id_ for id_ in numbers if before[id_].status in WAITING}
        due = [row.due_at for row in before.values() if row.due_at]
        assert done.count == len(waiting)
        for row in self.setup.rows():
            old = before[row.id]
            if row.id in waiting:
                assert row.due_at < min(self.setup.now, *due), "it goes out before all others"
            else:
                assert row == old, "a lead was hastened that does not wait, or that nobody chose"
            assert (row.status, row.attempts) == (old.status, old.attempts), "attempts count"

    @rule(name=runs)
    def choice_is_forgotten(self, name):
        """Leave what a task has due to whoever comes, when it cannot be cleared."""
        self.log.forget_choice([RunKey("dag", "task", name)], self.setup.now)
        run = self.run_of(name)
        for row in self.setup.rows():
            if row.id in self.own(run) and row.status in WAITING:
                assert row.due_at > self.setup.now or row.due_at <= self.setup.now - ORPHANED

    @rule(change=st.sampled_from(["hold", "pause", "resume", "back"] + 2 * [*OUTAGE]))
    def keep_back_or_let_go(self, change):
        now = self.setup.now
        arguments = {
            "hold": ("ana", now),
            "pause": (401, now),
            "begin_outage": (now, "answered 503", now),
        }
        before = self.log.integration(ZAPIER)
        is_news = getattr(self.log, change)(ZAPIER, *arguments.get(change, ()))
        state = self.log.integration(ZAPIER)
        if (before.down, before.paused) != (state.down, state.paused):
            self.probed_at = None
        if change == "back":
            assert is_news == self.is_troubled, "its end is told once"
            self.is_troubled = False
        elif change in {"pause", "begin_outage"}:
            assert is_news == ((before.paused, before.down) != (state.paused, state.down))
            self.is_troubled = self.is_troubled or is_news
        assert (state.paused or state.down or state.resumed) == self.is_troubled
        self.kept_back = state.held or state.paused
        if change in {"hold", "pause"}:
            assert self.kept_back
        if change == "begin_outage":
            # An outcome comes a moment after its attempt began, and the clock stands still here.
            is_up = any(row.delivered_at and row.delivered_at > now for row in self.with_payload())
            assert state.down == (before.down or not is_up), "it has delivered since"
            assert state.failures == 0, "another row begins"
        if change == "lift_outage":
            assert not state.down
        if change == "back":
            assert not state.paused
            assert not state.down
            assert state.held == before.held
        if change == "resume":
            assert not self.kept_back
            assert not state.down

    @rule(failures=st.integers(0, 9), goes_on=st.booleans())
    def count_failures(self, failures, goes_on):
        """Leave the row to all tasks; of what is down none is counted (8.7)."""
        before = self.log.integration(ZAPIER)
        since = self.setup.now if failures else None
        state = self.log.note_failures(ZAPIER, failures, since, goes_on=goes_on)
        assert state == self.log.integration(ZAPIER)
        if before.down:
            assert state == before
        elif goes_on:
            assert state.failures == before.failures + failures
            assert state.failing_since == (before.failing_since or since)
        else:
            assert (state.failures, state.failing_since) == (failures, since)
        assert state.down == before.down

    def with_payload(self):
        return [row for row in self.setup.rows() if row.payload is not None]

    @rule(seconds=st.sampled_from([0, 30, 61]))
    def retention(self, seconds):
        before = {row.id: row for row in self.setup.rows()}
        self.log.purge_payloads(self.setup.now, timedelta(seconds=seconds))
        until = self.setup.now - timedelta(seconds=seconds)
        for row in self.setup.rows():
            old = before[row.id]
            purged = old.delivered_at is not None and old.delivered_at < until
            expected = dict(old._mapping) | {"payload": None if purged else old.payload}
            assert dict(row._mapping) == expected

    @rule(seconds=st.sampled_from([1, 30, 61, 601]))
    def time_goes_on(self, seconds):
        """Leases run out: to the log a lost worker is one that never comes back."""
        self.setup.later(seconds=seconds)

    @invariant()
    def every_lead_is_there(self):
        assert {row.lead_id for row in self.setup.rows()} == self.enrolled

    @invariant()
    def attempts_are_bounded_and_numbered(self):
        numbers = {}
        for attempt in self.setup.rows(tables.attempt):
            numbers.setdefault((attempt.delivery_id, attempt.resend), []).append(attempt.number)
        for made in numbers.values():
            assert sorted(made) == list(range(1, len(made) + 1))
            assert len(made) <= ATTEMPTS

    @invariant()
    def rows_are_sound(self):
        for row in self.setup.rows():
            assert (row.due_at is not None) == (row.status in OPEN)
            assert (row.claim is not None) == (row.status == Status.SENDING)
            assert (row.delivered_at is not None) == (row.status == Status.DELIVERED)
            assert row.payload is not None or row.status in WITHOUT_PAYLOAD
            if row.claim is not None:
                assert row.claim == self.owners[row.id], "a claim nobody was given"

    @invariant()
    def attempts_agree_with_the_rows(self):
        made = {
            (attempt.delivery_id, attempt.resend, attempt.number): attempt.status_code
            for attempt in self.setup.rows(tables.attempt)
        }
        for row in self.setup.rows():
            last = (row.id, row.resend, row.attempts)
            assert row.attempts == sum(key[:2] == last[:2] for key in made)
            if row.status == Status.DELIVERED:
                assert made[last] == 200, "delivered without an attempt that was"
            if row.status in {Status.ERROR, Status.RETRYING}:
                assert made[last] is None

    @invariant()
    def the_answers_agree_with_the_rows(self):
        joined = {(row.run_id, row.delivery_id) for row in self.setup.rows(tables.run_delivery)}
        rows = self.setup.rows()
        assert not joined & {(row.run_id, row.id) for row in rows}, "a lead is owned twice"
        for name in ("first", "second", "third"):
            run = self.run_of(name)
            own = [row for row in rows if row.run_id == run.id or (run.id, row.id) in joined]
            assert self.log.counts(run) == {
                Status(status): sum(row.status == status for row in own)
                for status in {row.status for row in own}
            }
            lapsed = [row for row in own if row.status == Status.SENDING and not row.attempts]
            assert self.log.untried(run, self.setup.now) == sum(
                row.status == Status.PENDING for row in own
            ) + sum(row.due_at <= self.setup.now for row in lapsed)
            due = [row.due_at for row in own if row.due_at is not None]
            assert self.log.next_due(run) == min(due, default=None)

    def teardown(self):
        """Go on as the next runs would: whatever happened, each lead comes to an end."""
        self.log.resume(ZAPIER)
        for _ in range(2):
            self.setup.later(seconds=61)
            run = self.run_of("first")
            assert self.setup.settle(run, self.setup.claim(run), delivered()) == []
        assert not [row for row in self.setup.rows() if row.status in OPEN], "a lead was lost"


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
    check(f"sqlite:///{tmp_path / 'log.db'}", examples=50)


@pytest.mark.timeout(300)
def test_every_history_on_postgresql(postgres):
    """The same holds on PostgreSQL (6.1)."""
    with empty_database(postgres) as url:
        check(url, examples=25)
