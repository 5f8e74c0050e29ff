"""A run that finds again what is settled: what it looks at, and what it must not overlook."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from tests.integration.dispatch.conftest import key
from tests.support.receiver import Reply
from zbl_provider.dispatch.intake import find
from zbl_provider.log.model import Status
from zbl_provider.watch.backlog import Backlog, sum_up

COLUMNS = ["id", "email", "score"]


class OnlyId:
    """A row that gives its id, and fails for whoever asks for more."""

    def __init__(self, lead_id):
        self.lead_id = lead_id

    def __getitem__(self, place):
        assert place == 0, "the rest of the row was read"
        return self.lead_id


def rows(*values):
    return find(((COLUMNS, row) for row in values), None)


def row(lead_id, *, email="ana@example.com", score=80):
    return (lead_id, email, score)


@pytest.fixture
def run(setup):
    """Give a function that dispatches rows in a run of its own."""
    setup.extra = {"min_score": 70}

    def run(name, *values, epoch=0, **policy):
        return setup.dispatcher(**policy).dispatch(key(name), epoch, rows(*values))

    return run


def test_of_a_delivered_lead_the_id_is_enough(setup, run):
    """No value of its row but the id is looked at, by a run or by a watcher (4.4, 8.2)."""
    run("first", *(row(lead_id) for lead_id in range(20)))
    report = run("second", *(OnlyId(lead_id) for lead_id in range(20)))
    assert (report.skipped, report.counts, report.repeated) == (20, {}, 0)
    offered = ((COLUMNS, OnlyId(lead_id)) for lead_id in range(20))
    destination = setup.dispatcher().destination
    assert sum_up(offered, None, destination, setup.log, setup.clock()) == Backlog(frozenset(), 0)


def test_a_delivered_lead_counts_once_however_many_rows_it_has(run):
    """Those skipped are leads; rows that repeat an id are told apart from them (4.4, 4.8)."""
    run("first", row(1), row(2))
    report = run("second", row(1), row(2), row(1), *(row(3) for _ in range(600)), row(2))
    assert (report.skipped, report.repeated) == (2, 601)
    assert report.counts == {Status.DELIVERED: 1}


@pytest.mark.parametrize("more", [(), (3,)], ids=["nothing new", "something new"])
def test_a_row_without_an_id_is_told_beside_delivered_ones(run, more):
    """The log cannot be asked for it, and it is invalid each time that it is found (4.9)."""
    run("first", row(1), row(2))
    report = run("second", row(1), row(None), *map(row, more), row(2))
    counts = {Status.INVALID: 1} | ({Status.DELIVERED: 1} if more else {})
    assert (report.counts, report.skipped) == (counts, 2)


def test_the_first_error_of_all_is_said_whichever_is_found_first(setup, run):
    """They may be found in batches, and the one that failed first may stand in any (4.4, 4.7)."""
    setup.answer(lambda _: Reply(404))
    began = setup.clock.now
    run("first", row(1))
    setup.clock.now += timedelta(days=1)
    run("second", row(2))
    new = [row(1000 + n) for n in range(100)]
    setup.answer(lambda _: Reply())
    for order in ([row(1), *new, row(2)], [row(2), *new, row(1)]):
        report = run(f"third {order[0]}", *order)
        assert report.failed_before == 2
        assert report.failed_since - began < timedelta(minutes=1)


def test_what_a_run_delivered_itself_is_not_skipped(run):
    """A try that was cut off goes on: its own leads are none that another run settled (4.3)."""
    run("first", row(1))
    run("second", row(2), row(3))
    report = run("second", row(1), row(2), row(3), row(4))
    assert (report.skipped, report.counts) == (1, {Status.DELIVERED: 3})


def test_what_has_changed_is_found(setup, run):
    """A lead that was kept back goes out once its row passes, beside many settled (5.4, 5.5)."""
    settled = [row(lead_id) for lead_id in range(100, 130)]
    before = [row(1, score=1), row(2, email="no address"), row(3, score=1)]
    run("first", *settled, *before)
    report = run("second", *settled, row(1), row(2), row(3, score=2))
    assert report.skipped == 30
    assert report.counts == {Status.DELIVERED: 2, Status.FILTERED: 1}
    assert {request.lead_id for request in setup.receiver.received[-2:]} == {"1", "2"}


def test_a_changed_filter_is_found(setup, run):
    """What the filters kept back goes out when they let it pass; what is delivered stays (5.4)."""
    run("first", row(1), row(2, score=50))
    setup.extra = {"min_score": 40}
    report = run("second", row(1), row(2, score=50))
    assert (report.skipped, report.counts) == (1, {Status.DELIVERED: 1})


@pytest.mark.parametrize(
    ("name", "epoch", "policy"),
    [("second", 0, {"resend_delivered": True}), ("first", 1, {"resend_all": True})],
)
def test_what_is_meant_anew_goes_out_as_it_is_now(setup, run, name, epoch, policy):
    """if_delivered="send", and a clear with "resend_all", read the present row (4.4, 4.5)."""
    run("first", row(1))
    report = run(name, row(1, email="new@example.com"), epoch=epoch, **policy)
    assert report.counts == {Status.DELIVERED: 1}
    emails = [json.loads(request.body)["lead"]["email"] for request in setup.receiver.received]
    assert emails == ["ana@example.com", "new@example.com"]


def test_a_lead_in_error_takes_its_present_row(setup, run):
    """A later run leaves it alone, but a clear then sends what the row has now (4.5)."""
    setup.answer(lambda _: Reply(404))
    run("first", row(1))
    assert run("second", row(1, email="new@example.com")).skipped == 1
    setup.answer(lambda _: Reply(200))
    report = setup.dispatcher().dispatch(key("first"), 1)
    assert report.counts == {Status.DELIVERED: 1}
    assert json.loads(setup.receiver.received[-1].body)["lead"]["email"] == "new@example.com"
