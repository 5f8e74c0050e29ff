"""What people ask of the log: which leads, what became of one, and how many (Contract 8.4)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import create_engine

from tests.integration.log.setup import LEASE, NOON, delivered, failed, lead
from zbl_provider.exceptions import DeliveryLogUnavailable
from zbl_provider.leads.payload import webhook_id
from zbl_provider.log.browse import reader as reader_module
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import RunKey, Settlement, Status

ZAPIER, MAKE = "zapier", "make"


@pytest.fixture
def reader(setup):
    return setup.log.reader


def candidate(name, integration=ZAPIER, **options):
    """Return a candidate with the id that the integration's receiver would see."""
    return replace(lead(name, **options), webhook_id=webhook_id(integration, name))


def send(setup, run, outcome, *names, integration=ZAPIER, due_at=None):
    leads = [candidate(name, integration) for name in names]
    setup.log.enrol(run, integration, leads, setup.now)
    claimed = setup.log.claim(integration, 1000, setup.now, LEASE, run=run)
    setup.log.settle([Settlement(lead, outcome, setup.now, due_at) for lead in claimed], run)


def ids(page):
    return [row.lead_id for row in page.rows]


@pytest.fixture
def told(setup):
    """Two integrations, three runs, and a lead of each fate, a minute apart."""
    first = setup.log.begin(RunKey("daily", "send", "r1"), ZAPIER, 0, setup.now)
    second = setup.log.begin(RunKey("daily", "send", "r2"), ZAPIER, 0, setup.now)
    other = setup.log.begin(RunKey("hourly", "send", "r1", 3), MAKE, 0, setup.now)
    send(setup, first, delivered(), "done")
    setup.later(minutes=1)
    send(setup, first, failed(), "lost")
    setup.later(minutes=1)
    send(setup, second, failed(), "again", due_at=setup.now + timedelta(minutes=5))
    setup.later(minutes=1)
    kept = candidate("kept", status=Status.FILTERED, reason="score is under min_score 70")
    setup.log.enrol(second, ZAPIER, [kept, candidate("again")], setup.now)
    setup.later(minutes=1)
    send(setup, other, delivered(1.5), "done", "more", integration=MAKE)
    setup.log.enrol(other, MAKE, [candidate("new", MAKE)], setup.now)
    return setup


def test_leads_come_newest_first(told, reader):
    """Without a filter every lead is shown, the newest first (8.4)."""
    assert ids(reader.deliveries(Query())) == [
        "new",
        "more",
        "done",
        "kept",
        "again",
        "lost",
        "done",
    ]


@pytest.mark.parametrize("near", [10_000, 1])
@pytest.mark.parametrize("rare", [10_000, 0])
@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(status=Status.DELIVERED), ["more", "done", "done"]),
        (Query(status=Status.ERROR), ["lost"]),
        (Query(status=Status.PENDING), ["new"]),
        (Query(status=Status.RETRYING), ["again"]),
        (Query(status=Status.INVALID), []),
        (Query(integration=MAKE), ["new", "more", "done"]),
        (Query(integration="unknown"), []),
        (Query(integration=ZAPIER, status=Status.DELIVERED), ["done"]),
        (Query(lead_id="done"), ["done", "done"]),
        (Query(lead_id="done", integration=MAKE), ["done"]),
        (Query(lead_id="done", integration=MAKE, status=Status.ERROR), []),
        (Query(lead_id="don"), []),
        (Query(dag_id="daily"), ["kept", "again", "lost", "done"]),
        (Query(dag_id="daily", task_id="send", run_id="r2", map_index=-1), ["kept", "again"]),
        (Query(run_id="r1"), ["new", "more", "done", "lost", "done"]),
        (Query(map_index=3, status=Status.DELIVERED), ["more", "done"]),
        (Query(dag_id="daily", integration=MAKE), []),
        (
            Query(since=NOON + timedelta(minutes=1)),
            ["new", "more", "done", "kept", "again", "lost"],
        ),
        (Query(until=NOON + timedelta(minutes=1)), ["done"]),
        (
            Query(since=NOON + timedelta(minutes=1), until=NOON + timedelta(minutes=3)),
            ["again", "lost"],
        ),
        (Query(integration="\0", dag_id="\ud800", lead_id="\0"), []),
        (Query(map_index=10**30), []),
    ],
)
def test_each_filter_shows_what_it_says(told, reader, monkeypatch, query, expected, near, rare):
    """Every filter, alone and together, shows its leads, whichever way they are found (8.4)."""
    monkeypatch.setattr(reader_module, "_NEAR", near)
    monkeypatch.setattr(reader_module, "_RARE", rare)
    assert ids(reader.deliveries(query)) == expected
    assert sum(reader.funnel(query).values()) == len(expected)


def test_a_lead_taken_on_is_shown_for_both_runs(told, reader):
    """A run's leads are those it enrolled and those it took on, each once (4.6, 8.3)."""
    third = told.log.begin(RunKey("daily", "send", "r3"), ZAPIER, 0, told.now)
    told.log.enrol(third, ZAPIER, [candidate("again"), candidate("own")], told.now)
    assert ids(reader.deliveries(Query(run_id="r3"))) == ["own", "again"]
    assert ids(reader.deliveries(Query(run_id="r2"))) == ["kept", "again"]
    assert ids(reader.deliveries(Query(dag_id="daily"))) == ["own", "kept", "again", "lost", "done"]


@pytest.mark.parametrize("near", [10_000, 2])
def test_pages_follow_on_each_other(told, reader, monkeypatch, near):
    """Each page begins where the last one ended, though leads are enrolled meanwhile (8.4)."""
    monkeypatch.setattr(reader_module, "_NEAR", near)
    whole = ids(reader.deliveries(Query()))
    seen, before = [], None
    while True:
        page = reader.deliveries(Query(), limit=2, before=before)
        seen += ids(page)
        run = told.run("meanwhile")
        told.log.enrol(run, ZAPIER, [candidate(f"meanwhile {len(seen)}")], told.now)
        if page.next is None:
            break
        before = page.next
    assert seen == whole


def test_a_page_that_holds_all_has_no_next(told, reader):
    """The last page says so (8.4)."""
    assert reader.deliveries(Query(), limit=7).next is None
    assert reader.deliveries(Query(), limit=6).next is not None


def test_a_row_says_where_the_lead_stands(told, reader):
    """A row has the lead, its status with the reason, its times and its run (6.3, 8.4)."""
    [row] = reader.deliveries(Query(status=Status.RETRYING)).rows
    assert (row.lead_id, row.integration, row.attempts, row.resend) == ("again", ZAPIER, 1, 0)
    assert (row.reason, row.last_kind, row.last_status) == ("no answer in 10 s", "timeout", None)
    assert row.due_at == NOON + timedelta(minutes=7)
    assert row.created_at == NOON + timedelta(minutes=2)
    assert (row.delivered_at, row.run) == (None, RunKey("daily", "send", "r2"))
    [done] = reader.deliveries(Query(status=Status.DELIVERED, integration=ZAPIER)).rows
    assert (done.due_at, done.last_status) == (None, 200)
    assert done.delivered_at == NOON + timedelta(seconds=0.25)


def test_a_lease_is_no_next_attempt(setup, reader):
    """A lead that is being sent has no next attempt, though its lease has an end (6.3)."""
    run = setup.run()
    setup.enrol(run, lead("a"))
    assert reader.deliveries(Query()).rows[0].due_at == NOON
    setup.claim(run)
    assert reader.deliveries(Query()).rows[0].due_at is None


def test_a_lead_is_shown_with_its_attempts(told, reader):
    """Each attempt shows its number, start, answer and run; no payload is shown (6.3)."""
    [row] = reader.deliveries(Query(lead_id="done", integration=MAKE)).rows
    detail = reader.delivery(row.delivery_id)
    assert (detail.row, detail.sendable) == (row, True)
    [attempt] = detail.attempts
    assert (attempt.number, attempt.resend, attempt.status_code) == (1, 0, 200)
    assert (attempt.duration_ms, attempt.excerpt, attempt.kind) == (1500, "thanks", None)
    assert attempt.run == RunKey("hourly", "send", "r1", 3)
    assert "thanks" not in repr(detail)
    assert reader.delivery(10_000) is None
    assert reader.delivery(10**30) is None


def test_a_lead_whose_payload_was_cleared_is_not_sendable(told, reader):
    """What retention has cleared is shown, and shown to be beyond a resend (6.4)."""
    [row] = reader.deliveries(Query(lead_id="done", integration=ZAPIER)).rows
    told.log.purge_payloads(told.now + timedelta(days=31), timedelta(days=30))
    detail = reader.delivery(row.delivery_id)
    assert not detail.sendable
    assert [attempt.excerpt for attempt in detail.attempts] == [None]


def test_the_funnel_counts_by_status(told, reader):
    """The funnel tells how many leads stand where (8.4)."""
    assert reader.funnel(Query()) == {
        Status.DELIVERED: 3,
        Status.ERROR: 1,
        Status.RETRYING: 1,
        Status.FILTERED: 1,
        Status.PENDING: 1,
    }
    assert reader.funnel(Query(integration=MAKE)) == {Status.DELIVERED: 2, Status.PENDING: 1}


def test_activity_counts_attempts_by_time(told, reader):
    """The chart counts attempts, delivered and failed, with how long answers took (8.4)."""
    query = Query(since=NOON, until=NOON + timedelta(minutes=10))
    stretches = reader.activity(query, now=told.now, buckets=10)
    assert [bucket.start for bucket in stretches] == [
        NOON + timedelta(minutes=n) for n in range(11)
    ]
    assert {bucket.width for bucket in stretches} == {timedelta(minutes=1)}
    counted = [
        (bucket.delivered, bucket.failed, bucket.p50_ms, bucket.p95_ms) for bucket in stretches
    ]
    assert counted[:5] == [
        (1, 0, 250, 250),
        (0, 1, None, None),
        (0, 1, None, None),
        (0, 0, None, None),
        (2, 0, 1500, 1500),
    ]
    assert set(counted[5:]) == {(0, 0, None, None)}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), (3, 2)),
        (Query(integration=MAKE), (2, 0)),
        (Query(run_id="r2"), (0, 1)),
        (Query(status=Status.ERROR), (0, 1)),
        (Query(lead_id="done"), (2, 0)),
        (Query(since=NOON + timedelta(minutes=1)), (2, 2)),
        (Query(until=NOON + timedelta(minutes=1)), (1, 0)),
    ],
)
def test_activity_heeds_the_filters(told, reader, query, expected):
    """The chart shows what the table shows (8.4)."""
    stretches = reader.activity(query, now=told.now)
    assert sum(bucket.delivered for bucket in stretches) == expected[0]
    assert sum(bucket.failed for bucket in stretches) == expected[1]


@pytest.mark.parametrize(
    ("period", "width"),
    [
        (timedelta(minutes=30), timedelta(minutes=1)),
        (timedelta(days=1), timedelta(minutes=30)),
        (timedelta(days=7), timedelta(hours=3)),
        (timedelta(days=90), timedelta(days=7)),
        (timedelta(days=365 * 200), timedelta(days=365)),
    ],
)
def test_a_longer_period_has_wider_stretches(reader, period, width):
    """A chart has some dozens of stretches, minutes or days wide (8.4)."""
    stretches = reader.activity(Query(since=NOON - period), now=NOON)
    assert {bucket.width for bucket in stretches} == {width}


def test_percentiles_are_those_of_all_answers(setup, reader):
    """Half of the answers took no longer than p50, nineteen of twenty no longer than p95 (8.4)."""
    run = setup.run()
    setup.enrol(run, *(lead(f"{n}") for n in range(1, 101)))
    claimed = setup.claim(run)
    settlements = [
        Settlement(lead, delivered(n / 1000 if n < 99 else 2.345), NOON, None)
        for n, lead in enumerate(claimed, start=1)
    ]
    setup.log.settle(settlements, run)
    [totals] = reader.integrations(NOON)
    assert (totals.p50_ms, totals.p95_ms) == (50, 95)
    assert [bucket.p95_ms for bucket in reader.activity(Query(since=NOON), now=NOON)] == [95]


def test_integrations_are_told_apart(told, reader):
    """Each integration has its own counts and answer times; one without leads is there (8.4)."""
    told.log.begin(RunKey("d", "t", "r"), "idle", 0, told.now)
    by_name = {totals.integration: totals for totals in reader.integrations(NOON)}
    assert list(by_name) == ["idle", MAKE, ZAPIER]
    assert by_name["idle"].counts == {}
    assert by_name[MAKE].counts == {Status.DELIVERED: 2, Status.PENDING: 1}
    assert by_name[ZAPIER].counts[Status.ERROR] == 1
    assert (by_name[MAKE].p50_ms, by_name[ZAPIER].p50_ms) == (1500, 250)
    late = {
        totals.integration: totals for totals in reader.integrations(NOON + timedelta(minutes=4))
    }
    assert late[ZAPIER].counts == {}
    assert late[ZAPIER].p50_ms is None


def test_a_log_that_is_away_is_said_to_be(reader):
    """While the log is away, who asks hears so, without a statement or a row (1.5, 6.2)."""
    reader._engine = create_engine("sqlite:////nowhere/log.db")
    with pytest.raises(DeliveryLogUnavailable, match="cannot be used"):
        reader.deliveries(Query())
