"""A task that stays, looks again and again, and sends what it finds (Contract 4.12)."""

import re
import threading
import time
from contextlib import contextmanager
from datetime import timedelta

import pytest
from sqlalchemy import Engine, event

from tests.integration.dispatch.conftest import MINUTE, key
from tests.support.receiver import Reply
from zbl_provider.dispatch.follow import Follow
from zbl_provider.dispatch.intake import find
from zbl_provider.exceptions import ConfigurationError, DispatchStopped, LeadsDatabaseError
from zbl_provider.log.model import Status

COLUMNS = ["id", "email", "city"]
PATIENCE_SECONDS = 30


class Table:
    """Rows that a query finds, as they are at each look; a database that may be away."""

    conn_id = "crm"

    def __init__(self, *ids):
        self.rows = [self.row(lead_id) for lead_id in ids]
        self.looks = 0
        self.open = 0
        self.away = False

    @staticmethod
    def row(lead_id, city="Recife"):
        return (lead_id, f"{lead_id}@example.com", city)

    def add(self, *ids):
        self.rows = [*self.rows, *map(self.row, ids)]

    def __call__(self):
        self.looks += 1
        if self.away:
            raise LeadsDatabaseError("crm", "OperationalError: server closed the connection")
        self.open = 1
        return find([(COLUMNS, row) for row in self.rows], None)

    def close(self):
        self.open = 0


class Following:
    """A task that follows a table in a thread of its own, until the test ends its time."""

    def __init__(self, setup, table, run="run 1", seconds=0.05, **policy):
        self.setup, self.table = setup, table
        self.dispatcher = setup.dispatcher(**policy)
        self.over = threading.Event()
        test = self

        class UntilTold(Follow):
            @property
            def over(self):
                return test.over.is_set()

        self.rereads = 0

        def reread():
            self.rereads += 1
            return setup.dispatcher().destination

        follow = UntilTold(table, timedelta(hours=1), seconds, reread)
        self.report = self.problem = None
        self._thread = threading.Thread(target=self._run, args=(key(run), follow))
        self._thread.start()

    def _run(self, run, follow):
        try:
            self.report = self.dispatcher.dispatch(run, 0, follow=follow)
        except Exception as problem:  # noqa: BLE001  raised where the test asks
            self.problem = problem

    def until(self, holds):
        """Wait for something that the task is to do."""
        until = time.monotonic() + PATIENCE_SECONDS
        while not holds():
            assert time.monotonic() < until, "it did not come"
            assert self._thread.is_alive(), self.problem
            time.sleep(0.01)

    def until_looked(self, more=3):
        seen = self.table.looks
        self.until(lambda: self.table.looks >= seen + more)

    def end(self):
        """End its time, and return its report."""
        self.over.set()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()
        if self.problem:
            raise self.problem
        return self.report


@pytest.fixture
def following(setup):
    """Follow a table until the end of the block, however that ends."""

    @contextmanager
    def follow(table, **options):
        task = Following(setup, table, **options)
        try:
            yield task
        finally:
            task.over.set()
            task._thread.join(PATIENCE_SECONDS)

    return follow


@contextmanager
def statements():
    """Collect what the log's database is asked, whichever engine asks it."""
    asked = []

    def remember(_connection, _cursor, statement, *_):
        asked.append(statement)

    event.listen(Engine, "before_cursor_execute", remember)
    yield asked
    event.remove(Engine, "before_cursor_execute", remember)


def statuses(setup):
    rows = setup.rows("SELECT status, count(*) FROM zbl_delivery GROUP BY status")
    return {str(status): count for status, count in rows}


def test_what_is_committed_while_it_stays_is_sent_at_once(setup, following):
    """Each lead once, in whichever order they come, by one task (Contract 4.12)."""
    table = Table(1, 2)
    with following(table) as task:
        task.until(lambda: len(setup.sent) == 2)
        table.add(3)
        task.until(lambda: len(setup.sent) == 3)
        table.rows.insert(0, table.row(4))
        task.until(lambda: len(setup.sent) == 4)
        report = task.end()
    assert sorted(setup.sent) == ["1", "2", "3", "4"]
    assert (report.counts, report.due_at) == ({Status.DELIVERED: 4}, None)
    assert table.open == 0, "its database is let go of"


def test_rows_that_were_seen_cost_the_log_nothing(setup, following):
    """They are told apart in memory: the log is asked for them at the first look alone (4.12)."""
    for_rows = re.compile(r"json_each|json_array_elements|INTO zbl_delivery", re.IGNORECASE)
    table = Table(*range(1200))
    with following(table, seconds=0.02) as task:
        task.until(lambda: len(setup.sent) == 1200)
        task.until_looked()
        with statements() as asked:
            task.until_looked(20)
        assert not [statement for statement in asked if for_rows.search(statement)]
        table.rows[7] = table.row(7, city="Natal")
        with statements() as asked:
            task.until_looked(5)
        assert len([statement for statement in asked if for_rows.search(statement)]) == 1
        task.end()
    assert len(setup.sent) == 1200


def test_a_row_that_changes_is_looked_at_again(setup, following):
    """What was invalid or kept back goes out once it is as it should be (Contract 4.12, 5.4)."""
    setup.extra = {"field_filters": ["city equals Recife"]}
    table = Table(1)
    table.rows = [table.row(1), table.row(2, "Natal"), (3, "no address", "Recife")]
    with following(table) as task:
        task.until(lambda: statuses(setup) == {"delivered": 1, "filtered": 1, "invalid": 1})
        table.rows = [table.row(1), table.row(2), table.row(3)]
        task.until(lambda: len(setup.sent) == 3)
        assert task.end().counts == {Status.DELIVERED: 3}


def test_what_earlier_runs_left_is_counted_once(setup, following):
    """However often its row changes meanwhile; what was resent since is not in error (4.4, 4.7)."""
    setup.answer(lambda request: Reply(404 if request.lead_id in "234" else 200))
    setup.dispatch("run 0", [1, 2, 3, 4])
    table = Table(1, 2, 3, 4)
    with following(table) as task:
        for city in ("Natal", "Olinda", "Belém"):
            task.until_looked()
            table.rows = [table.row(lead_id, city) for lead_id in (1, 2, 3, 4)]
        task.until_looked()
        setup.answer(lambda request: Reply(404 if request.lead_id == "4" else 200))
        rows = setup.rows("SELECT id FROM zbl_delivery WHERE lead_id IN ('3', '4')")
        setup.log.resend([delivery_id for (delivery_id,) in rows], setup.clock.now)
        task.until(lambda: statuses(setup) == {"delivered": 2, "error": 2})
        task.until(lambda: len(setup.sent) == 6)
        report = task.end()
    assert (report.skipped, report.failed_before) == (4, 1)
    assert report.counts == {Status.DELIVERED: 1, Status.ERROR: 1}


def test_retries_go_out_when_they_are_due(setup, following):
    """From the same task, beside what is new; it is not deferred (Contract 3.1 and 4.12)."""
    setup.answer(lambda request: Reply(200 if request.before else 503))
    table = Table(1)
    with following(table) as task:
        task.until(lambda: statuses(setup) == {"retrying": 1})
        setup.answer(lambda request: Reply(200))
        table.add(2)
        task.until(lambda: setup.sent == ["1", "2"])
        task.until_looked()
        assert setup.sent == ["1", "2"]
        setup.clock.now += MINUTE
        task.until(lambda: setup.sent == ["1", "2", "1"])
        assert task.end().counts == {Status.DELIVERED: 2}


def test_what_waits_for_a_retry_at_its_end_goes_out_with_the_next_run(setup, following):
    """The task does not stay for it: the next one would come too late (Contract 4.6, 4.12)."""
    setup.answer(lambda _: Reply(503))
    table = Table(1)
    with following(table) as task:
        task.until(lambda: statuses(setup) == {"retrying": 1})
        report = task.end()
    assert (report.counts, report.due_at) == ({Status.RETRYING: 1}, None)
    assert report.failure("zapier") is None
    setup.answer(lambda _: Reply())
    setup.clock.now += MINUTE
    with following(table, run="run 2") as task:
        task.until(lambda: len(setup.sent) == 2)
        assert task.end().counts == {Status.DELIVERED: 1}


def test_a_lead_in_error_fails_the_task_at_its_end(setup, following):
    """The others go on until then (Contract 4.7 and 4.12)."""
    setup.answer(lambda request: Reply(400 if request.lead_id == "1" else 200))
    table = Table(1)
    with following(table) as task:
        task.until(lambda: statuses(setup) == {"error": 1})
        table.add(2)
        task.until(lambda: setup.sent == ["1", "2"])
        assert "lead 1 (error" in task.end().failure("zapier")


def test_a_hold_keeps_leads_back_and_ends_in_the_same_task(setup, following):
    """What is found meanwhile is recorded, and goes out when it is resumed (4.12 and 8.4)."""
    table = Table(1)
    with following(table) as task:
        task.until(lambda: setup.sent == ["1"])
        setup.log.hold("zapier", "ana", setup.clock())
        task.until(lambda: task.dispatcher._draining._breaker.open)
        table.add(2, 3)
        task.until(lambda: statuses(setup) == {"delivered": 1, "pending": 2})
        task.until_looked()
        assert setup.sent == ["1"]
        setup.log.resume("zapier")
        task.until(lambda: sorted(setup.sent) == ["1", "2", "3"])
        report = task.end()
    assert (report.counts, report.held) == ({Status.DELIVERED: 3}, None)


def test_a_hold_at_its_end_is_said(setup, following):
    """And is no failure, as without `follow` (Contract 4.12 and 8.4)."""
    setup.log.hold("zapier", "ana", setup.clock())
    with following(Table(1)) as task:
        task.until(lambda: statuses(setup) == {"pending": 1})
        task.until_looked(50)
        assert task.rereads == 0, "it does not begin anew while it is held"
        report = task.end()
    assert "ana" in report.held
    assert (report.failure("zapier"), report.due_at, setup.sent) == (None, None, [])


def test_a_connection_that_is_changed_counts_soon(setup, following, monkeypatch):
    """Active, filters, address: they are read again, and rows judged anew (1.2, 4.12, 5.4)."""
    monkeypatch.setattr("zbl_provider.dispatch.follow._REREAD_SECONDS", 0)
    setup.extra = {"active": False, "field_filters": ["city equals Natal"]}
    table = Table(1)
    table.rows.append(table.row(2, "Natal"))
    with following(table) as task:
        task.until(lambda: statuses(setup) == {"filtered": 1, "pending": 1})
        setup.extra = {"field_filters": ["city equals Natal"]}
        task.until(lambda: setup.sent == ["2"])
        setup.extra = {}
        task.until(lambda: setup.sent == ["2", "1"])
        assert task.end().counts == {Status.DELIVERED: 2}


def test_a_connection_that_can_work_no_more_ends_the_task(setup, following, monkeypatch):
    """Nothing is sent to what would be refused at the start of a task (Contract 1.3 and 4.12)."""
    monkeypatch.setattr("zbl_provider.dispatch.follow._REREAD_SECONDS", 0)
    with following(Table(1)) as task:
        task.until(lambda: setup.sent == ["1"])
        setup.extra = {"min_score": 200}
        task._thread.join(PATIENCE_SECONDS)
        with pytest.raises(ConfigurationError):
            task.end()


def test_a_pause_costs_ten_leads_however_long_it_stays(setup, following):
    """It waits for a person, fails at its end if nobody came, and goes on if one did (8.6)."""
    setup.answer(lambda _: Reply(401))
    setup.extra = {"max_concurrency": 1}
    table = Table(*range(30))
    with following(table) as task:
        task.until(lambda: [change.kind for change in setup.told] == ["paused"])
        table.add(30)
        task.until_looked()
        assert statuses(setup) == {"error": 10, "pending": 21}
        setup.answer(lambda _: Reply())
        setup.log.resume("zapier")
        task.until(lambda: statuses(setup) == {"error": 10, "delivered": 21})
        setup.answer(lambda _: Reply(403))
        table.add(*range(100, 120))
        task.until(lambda: [change.kind for change in setup.told] == ["paused", "back", "paused"])
        report = task.end()
    assert "zapier is paused" in report.failure("zapier")
    assert statuses(setup) == {"error": 20, "delivered": 21, "pending": 10}


def test_a_probe_that_is_to_be_retried_is_retried(setup, following):
    """A paused integration's next run tries one lead, and goes on by its answer (8.6, 4.12)."""
    setup.log.pause("zapier", 401, setup.clock())
    setup.answer(lambda request: Reply(200 if request.before else 503))
    with following(Table(1, 2, 3)) as task:
        task.until(lambda: statuses(setup) == {"retrying": 1, "pending": 2})
        task.until_looked()
        assert len(setup.sent) == 1
        setup.answer(lambda _: Reply())
        setup.clock.now += MINUTE
        task.until(lambda: statuses(setup) == {"delivered": 3})
        assert task.end().failure("zapier") is None


def test_a_destination_that_is_down_is_tried_now_and_then(setup, following):
    """What waits is not spent; one lead every few minutes is tried, as runs would (8.7, 4.12)."""
    setup.answer(lambda _: Reply(503))
    setup.extra = {"max_concurrency": 1}
    table = Table(*range(30))
    with following(table, schedule=()) as task:
        task.until(lambda: [change.kind for change in setup.told] == ["down"])
        task.until_looked()
        assert statuses(setup) == {"error": 10, "pending": 20}
        setup.clock.now += 5 * MINUTE
        task.until(lambda: statuses(setup) == {"error": 11, "pending": 19})
        task.until_looked()
        assert len(setup.sent) == 11
        setup.clock.now += 2 * MINUTE
        task.until_looked(50)  # for longer than the breaker takes to look
        assert len(setup.sent) == 11
        setup.answer(lambda _: Reply())
        setup.clock.now += 3 * MINUTE
        task.until(lambda: statuses(setup) == {"error": 11, "delivered": 19})
        task.end()
    assert [change.kind for change in setup.told] == ["down", "back"]


def test_airflows_end_leaves_nothing_in_hand(setup, following):
    """What is in flight is settled, what was claimed is free, the rest is in the log (6.2)."""
    setup.extra = {"max_concurrency": 2}
    setup.answer(lambda _: Reply(after=0.05))
    with following(Table(*range(200))) as task:
        task.until(lambda: len(setup.sent) > 4)
        task.dispatcher.stop()
        task._thread.join(PATIENCE_SECONDS)
        assert isinstance(task.problem, DispatchStopped)
    delivered = len(setup.sent)
    assert delivered < 100
    assert setup.rows("SELECT count(*) FROM zbl_delivery WHERE claim IS NOT NULL") == [(0,)]
    assert statuses(setup)["delivered"] == delivered
    setup.answer(lambda _: Reply())
    with following(Table(*range(200)), run="run 1") as task:
        task.until(lambda: len(setup.sent) == 200)
        task.end()
    assert len(set(setup.sent)) == 200


def test_airflows_end_is_noticed_between_two_looks(setup, following):
    """A task with nothing to do ends as soon as it is asked to (Contract 4.12 and 6.2)."""
    with following(Table(), seconds=600) as task:
        task.until(lambda: task.table.looks == 1)
        task.until(lambda: not task.dispatcher._stopping)
        began = time.monotonic()
        task.dispatcher.stop()
        task._thread.join(PATIENCE_SECONDS)
        assert isinstance(task.problem, DispatchStopped)
        assert time.monotonic() - began < 10


def test_the_end_of_its_time_leaves_nothing_in_hand(setup, following):
    """What could not be sent by then is free for the next run at once (Contract 4.12 and 6.2)."""
    setup.extra = {"max_rate": 5}
    with following(Table(*range(100))) as task:
        task.until(lambda: len(setup.sent) == 3)
        report = task.end()
    assert setup.rows("SELECT count(*) FROM zbl_delivery WHERE claim IS NOT NULL") == [(0,)]
    delivered = report.counts[Status.DELIVERED]
    assert report.counts == {Status.DELIVERED: delivered, Status.PENDING: 100 - delivered}
    assert delivered == len(setup.sent) < 50


def test_a_database_of_leads_that_is_away_is_waited_for(setup, following, caplog):
    """What is in the log is sent meanwhile; it is told once; what came then is found (4.12)."""
    setup.answer(lambda request: Reply(200 if request.before else 503))
    table = Table(1)
    with following(table) as task:
        task.until(lambda: statuses(setup) == {"retrying": 1})
        table.away = True
        task.until_looked(3)
        setup.clock.now += MINUTE
        task.until(lambda: setup.sent == ["1", "1"])
        table.add(2)
        setup.answer(lambda _: Reply())
        table.away = False
        task.until(lambda: setup.sent == ["1", "1", "2"])
        assert task.end().counts == {Status.DELIVERED: 2}
    told = [record.message for record in caplog.records if "tried again until" in record.message]
    assert len(told) == 1


def test_a_query_that_never_worked_fails_at_once(setup, following):
    """And one that is away at the end fails the task then: Airflow's retries are for it (4.12)."""
    table = Table(1)
    table.away = True
    with following(table) as task:
        task._thread.join(PATIENCE_SECONDS)
        assert isinstance(task.problem, LeadsDatabaseError)
    table.away = False
    with following(table, run="run 2") as task:
        task.until(lambda: setup.sent == ["1"])
        table.away = True
        task.until_looked(2)
        with pytest.raises(LeadsDatabaseError):
            task.end()


def test_a_query_that_hangs_does_not_outlast_the_tasks_time(setup, following, monkeypatch, caplog):
    """What is due is sent meanwhile, and the next task connects anew (Contract 4.12)."""
    monkeypatch.setattr("zbl_provider.dispatch.follow._SLOW_SECONDS", 0.2)
    monkeypatch.setattr("zbl_provider.dispatch.follow._HANGS_SECONDS", 0.2)
    setup.answer(lambda request: Reply(200 if request.before else 503))
    answers = threading.Event()

    class Dead(Table):
        def __call__(self):
            if self.looks == 2:
                answers.wait(PATIENCE_SECONDS)
            return super().__call__()

    try:
        with following(Dead(1)) as task:
            task.until(lambda: "has given nothing for" in caplog.text)
            setup.clock.now += MINUTE
            task.until(lambda: setup.sent == ["1", "1"])
            with pytest.raises(LeadsDatabaseError, match="crm gave no leads: it has given nothing"):
                task.end()
        with following(Dead(1), run="run 2") as task:
            task.until(lambda: task.table.looks == 2)
            task.dispatcher.stop()
            task._thread.join(PATIENCE_SECONDS / 2)
            assert isinstance(task.problem, DispatchStopped)
        assert not answers.is_set()
    finally:
        answers.set()


def test_a_look_that_broke_off_is_made_again_as_a_whole(setup, following):
    """What it had read, and was to be recorded at its end, is not taken for seen (4.8, 4.12)."""
    table = Table(1)

    class Broken(Table):
        def __call__(self):
            if self.looks == 1:
                self.looks += 1
                return find(self._half(), None)
            return super().__call__()

        def _half(self):
            yield COLUMNS, (2, "no address", "Recife")
            raise LeadsDatabaseError("crm", "OperationalError: server closed the connection")

    table = Broken(1)
    with following(table) as task:
        task.until(lambda: table.looks >= 2)
        table.rows.append((2, "no address", "Recife"))
        task.until(lambda: statuses(setup) == {"delivered": 1, "invalid": 1})
        task.end()


def test_two_tasks_that_follow_send_each_lead_once(setup, following):
    """As two tasks on one log do (Contract 4.6 and 4.12)."""
    table, other = Table(*range(50)), Table(*range(50))
    with following(table) as first, following(other, run="run 2") as second:
        for n in range(50, 80):
            table.add(n)
            other.add(n)
            time.sleep(0.01)
        first.until(lambda: len(setup.sent) >= 80)
        first.until_looked()
        second.until_looked()
        first.end()
        second.end()
    assert len(setup.sent) == len(set(setup.sent)) == 80
