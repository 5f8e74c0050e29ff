"""A clear after leads were chosen to be sent again sends just those (Contract 8.4)."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.integration.dispatch.conftest import key, lead
from tests.support.receiver import Reply
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import Status


def numbers(setup, *lead_ids):
    rows = setup.log.reader.deliveries(Query()).rows
    return [row.delivery_id for row in rows if row.lead_id in lead_ids]


@pytest.mark.parametrize("resend_all", [False, True])
def test_a_clear_sends_just_the_chosen_ones(setup, resend_all):
    """Of three leads in error and one delivered, the one that was chosen goes again (8.4)."""
    setup.answer(lambda request: Reply(200 if request.lead_id == "4" else 401))
    setup.dispatch("run 1", [1, 2, 3, 4])
    setup.answer(lambda _: Reply())
    assert setup.log.resend(numbers(setup, "2"), setup.clock.now).runs == (key("run 1"),)
    report = setup.dispatch("run 1", [1, 2, 3, 4], epoch=1, resend_all=resend_all)
    assert setup.sent[4:] == ["2"]
    assert report.counts == {Status.ERROR: 2, Status.DELIVERED: 2}
    setup.dispatch("run 1", [1, 2, 3, 4], epoch=2)
    assert sorted(setup.sent[5:]) == ["1", "3"]


def test_a_chosen_lead_goes_out_as_its_row_is_now(setup):
    """The clear sends what was corrected in the row, as every clear does (4.5, 8.4)."""
    setup.answer(lambda _: Reply(422))
    setup.dispatch("run 1", [lead(1, phone="wrong")])
    setup.answer(lambda _: Reply())
    setup.log.resend(Query(), setup.clock.now)
    setup.dispatch("run 1", [lead(1, phone="right")], epoch=1)
    assert b"right" in setup.receiver.received[1].body


def test_without_a_clear_the_next_run_sends_them(setup):
    """Where the task instance is gone, the integration's next run sends what was chosen (4.6)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", [1, 2])
    setup.answer(lambda _: Reply())
    setup.log.resend(numbers(setup, "1"), setup.clock.now)
    setup.dispatch("run 2")
    assert setup.sent[2:] == ["1"]


def test_one_lead_is_sent_once_though_another_task_was_quicker(setup):
    """A single lead that was chosen is not sent a second time by its own clear (4.6, 8.4)."""
    single = {"only_own": True, "resend_all": True}
    setup.dispatch("run 1", [1], **single)
    setup.log.resend(numbers(setup, "1"), setup.clock.now)
    setup.dispatch("drains")
    report = setup.dispatch("run 1", [1], epoch=1, **single)
    assert setup.sent == ["1", "1"]
    assert report.counts == {Status.DELIVERED: 1}


def test_invalid_leads_stay_what_they_are(setup):
    """A clear for chosen leads does not look away from the run's invalid ones (4.7, 8.4)."""
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", [lead(1, score="none"), 2])
    setup.answer(lambda _: Reply())
    setup.log.resend(Query(), setup.clock.now)
    report = setup.dispatch("run 1", [2], epoch=1)
    assert report.counts == {Status.INVALID: 1, Status.DELIVERED: 1}


def test_the_task_says_that_it_sends_just_those(setup, caplog):
    """Whoever wonders why others are still in error finds the reason in the task's log (8.4)."""
    caplog.set_level("INFO")
    setup.answer(lambda _: Reply(401))
    setup.dispatch("run 1", [1])
    setup.log.resend(Query(), setup.clock.now)
    setup.dispatch("run 1", [1], epoch=1)
    assert "just those are sent again" in caplog.text


def test_what_is_not_sent_again_gets_no_payload_again(setup):
    """Data that retention has cleared does not come back for a clear that leaves it alone (6.4)."""
    setup.answer(lambda request: Reply(200 if request.lead_id == "1" else 401))
    setup.dispatch("run 1", [1, 2])
    assert setup.log.purge_payloads(setup.clock.now + timedelta(days=1), timedelta(0)) == 1
    setup.log.resend(Query(), setup.clock.now)
    setup.dispatch("run 1", [1, 2], epoch=1, resend_all=True)
    [delivered] = numbers(setup, "1")
    assert not setup.log.reader.delivery(delivered).sendable
