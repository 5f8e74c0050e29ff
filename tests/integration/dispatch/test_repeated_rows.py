"""Of the rows of one query that have one id, the first that can be sent counts (Contract 4.8)."""

from __future__ import annotations

import json
from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import islice

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from zbl_provider.delivery.destination import Destination
from zbl_provider.dispatch import feed as feeding
from zbl_provider.dispatch.feed import Feed
from zbl_provider.dispatch.follow import Follow
from zbl_provider.dispatch.intake import candidate, find, read
from zbl_provider.log.model import RunKey, Status
from zbl_provider.log.outbox.decision import Rule
from zbl_provider.log.store import DeliveryLog

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
COLUMNS = ("id", "list_name", "email")
ONLY_B = Destination.parse(
    integration="zapier", host="https://hooks.example.com/", extra={"lists": ["B"]}
)


def leads_of(rows):
    return read(((COLUMNS, values) for values in rows), None)


def verdicts(rows):
    """Say what has to become of each lead, from all of its rows (Contract 4.8)."""
    chosen = {}
    for judged in (candidate(lead, ONLY_B) for lead in leads_of(rows)):
        before = chosen.setdefault(judged.lead_id, judged)
        if before.status is not Status.PENDING and judged.status is Status.PENDING:
            chosen[judged.lead_id] = judged
    return {
        key: (judged.status, judged.reason, judged.fingerprint) for key, judged in chosen.items()
    }


def recorded(log):
    # What a run claims as it enrols is being sent.
    with log._engine.begin() as connection:
        rows = connection.execute(
            text(
                "SELECT lead_id, replace(status, 'sending', 'pending'), reason, fingerprint "
                "FROM zbl_delivery"
            )
        )
        return {key: tuple(facts) for key, *facts in rows}


def enrol(log, run, rows, sizes, *, lease=None, stop_after=None):
    """Enrol the rows in batches of the given sizes, perhaps not to the end; return the repeats."""
    feeding._FIRST_BATCH, feeding._LARGEST_BATCH = sizes
    feed = Feed(
        log=log,
        run=run,
        destination=ONLY_B,
        rule=Rule(),
        leads=leads_of(rows),
        clock=lambda: NOW,
    )
    for batch in islice(feed.batches(), stop_after):
        feed.write(batch, lease, log)
    feed.close()
    return feed.repeated


@pytest.fixture(scope="module")
def batch_sizes():
    before = feeding._FIRST_BATCH, feeding._LARGEST_BATCH
    yield st.tuples(st.integers(1, 3), st.integers(1, 5))
    feeding._FIRST_BATCH, feeding._LARGEST_BATCH = before


ROWS = st.lists(
    st.tuples(
        st.sampled_from([1, 2, 3, 4]),
        st.sampled_from(["A", "B", "C"]),
        st.sampled_from(["ana@example.com", "bia@example.com", "no address"]),
    ),
    max_size=12,
)
SOME = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))


@pytest.fixture
def log(log_url):
    with closing(DeliveryLog(log_url)) as log:
        log.upgrade()
        yield log


def empty(log):
    with log._engine.begin() as connection:
        connection.execute(text("DELETE FROM zbl_delivery"))


@SOME
@given(data=st.data(), rows=ROWS, earlier=ROWS)
def test_order_and_batches_decide_nothing(log, batch_sizes, data, rows, earlier):
    """
    What becomes of a lead depends on the rows of the query that has its id, and on nothing else.

    Neither on where batches end, nor on a run before, nor on a try that was cut off (4.8, 6.2).
    """
    empty(log)
    last = log.begin(RunKey("dag", "task", "last"), "zapier", 0, NOW)
    first = log.begin(RunKey("dag", "task", "first"), "zapier", 0, NOW)
    enrol(log, first, earlier, data.draw(batch_sizes))
    enrol(log, last, rows, data.draw(batch_sizes), stop_after=data.draw(st.integers(0, 4)))
    repeated = enrol(log, last, rows, data.draw(batch_sizes))
    assert recorded(log) == verdicts(earlier) | verdicts(rows)
    assert repeated == len(rows) - len({lead_id for lead_id, *_ in rows})


@SOME
@given(data=st.data(), rows=ROWS)
def test_the_same_rows_in_any_order_send_the_same_leads(log, batch_sizes, data, rows):
    """Sent, filtered and invalid are the same leads, also where sending begins meanwhile (4.8)."""
    to_send = []
    for ordered in (rows, data.draw(st.permutations(rows))):
        empty(log)
        run = log.begin(RunKey("dag", "task", "run"), "zapier", 0, NOW)
        enrol(log, run, ordered, data.draw(batch_sizes), lease=timedelta(minutes=1))
        statuses = recorded(log)
        assert statuses == verdicts(ordered)
        to_send.append({key for key, (status, *_) in statuses.items() if status == Status.PENDING})
    assert to_send[0] == to_send[1]


class Tables:
    """A query whose rows are others at each look."""

    def __init__(self, tables):
        self._tables = iter(tables)

    def __call__(self):
        return find(((COLUMNS, values) for values in next(self._tables)), None)

    def close(self):
        pass


@SOME
@given(data=st.data(), tables=st.lists(ROWS, min_size=1, max_size=5))
def test_rows_that_are_passed_over_decide_nothing(log, batch_sizes, data, tables):
    """A task that follows comes to what a fresh look would, though it judges changes alone."""
    empty(log)
    feeding._FIRST_BATCH, feeding._LARGEST_BATCH = data.draw(batch_sizes)
    follow = Follow(Tables([*tables, tables[-1]]), timedelta(hours=1), 1, lambda: ONLY_B)
    feed = Feed(
        log=log,
        run=log.begin(RunKey("dag", "task", "run"), "zapier", 0, NOW),
        destination=ONLY_B,
        rule=Rule(),
        leads=(),
        clock=lambda: NOW,
        follow=follow,
    )
    for _ in [*tables, tables[-1]]:  # of an id with several rows some may count a look later
        feed.look_again()
        for batch in feed.batches():
            feed.write(batch, None, log)
    feed.close()
    expected = verdicts(tables[-1])
    statuses = recorded(log)
    assert {key: statuses[key] for key in expected} == expected, "(Contract 4.8 and 4.12)"


def rows_of_ids(ids):
    return [(lead_id, "C", "ana@example.com") for lead_id in ids]


@pytest.mark.parametrize("apart", [0, 700])
@pytest.mark.parametrize("passing", [0, 1, 2])
def test_a_row_that_passes_wins_wherever_it_stands(setup, apart, passing):
    """A join with lists gives a lead several rows: it is sent once, by the first that passes."""
    setup.extra = {"lists": ["B"]}
    lists = ["A", "C", "A"]
    lists[passing] = "B"
    others = rows_of_ids(range(10, 10 + apart))
    rows = [
        (1, lists[0], "ana@example.com"),
        *others,
        (1, lists[1], "ana@example.com"),
        (1, lists[2], "ana@example.com"),
    ]
    report = setup.dispatcher().dispatch(RunKey("dag", "task", "run"), 0, leads_of(rows))
    expected = {Status.DELIVERED: 1} | ({Status.FILTERED: apart} if apart else {})
    assert report.counts == expected
    assert report.repeated == 2
    assert [request.lead_id for request in setup.receiver.received] == ["1"]


def test_a_second_row_that_passes_changes_nothing(setup):
    """The first that passes is sent, once, and a later run finds no change (4.4, 4.8)."""
    setup.extra = {"lists": ["A", "B"]}
    rows = [(1, "A", "ana@example.com"), *rows_of_ids(range(10, 700)), (1, "B", "b@example.com")]
    for run in ("first", "second"):
        report = setup.dispatcher().dispatch(RunKey("dag", "task", run), 0, leads_of(rows))
        assert report.repeated == 1
    sent = [request for request in setup.receiver.received if request.lead_id == "1"]
    assert [json.loads(request.body)["list"]["name"] for request in sent] == ["A"]
    assert report.skipped == 1


def test_a_clear_and_if_delivered_send_the_row_that_passes(setup):
    """Each sends the lead once more, from the first row that passes (4.4, 4.5, 4.8)."""
    setup.extra = {"lists": ["B"]}
    rows = [(1, "A", "a@example.com"), (1, "B", "b@example.com"), (1, "B", "c@example.com")]
    setup.dispatcher().dispatch(RunKey("dag", "task", "first"), 0, leads_of(rows))
    setup.dispatcher(resend_delivered=True).dispatch(
        RunKey("dag", "task", "second"), 0, leads_of(rows)
    )
    setup.dispatcher(resend_all=True).dispatch(RunKey("dag", "task", "first"), 1, leads_of(rows))
    emails = [json.loads(request.body)["lead"]["email"] for request in setup.receiver.received]
    assert emails == ["b@example.com"] * 3


def test_ids_that_are_written_alike_are_one_id(setup):
    """An integer, a NUMERIC and text of one number are the same lead (Contract 2.2 and 4.8)."""
    setup.extra = {"lists": ["B"]}
    ids = [1, "1", Decimal("1.0"), 1.0]
    rows = [(lead_id, "B" if lead_id == "1" else "A", "ana@example.com") for lead_id in ids]
    report = setup.dispatcher().dispatch(RunKey("dag", "task", "run"), 0, leads_of(rows))
    assert report.counts == {Status.DELIVERED: 1}
    assert report.repeated == 3
