"""Clearing a task is sending again."""

from types import SimpleNamespace

import pytest

from tests.support.receiver import Reply
from tests.system.case import Scenario, lead

RECEIVER = SimpleNamespace(mended=False)


def answer(request):
    """Refuse one lead until the receiver is mended."""
    return Reply(200 if RECEIVER.mended or request.lead_id != "bad" else 500)


@pytest.mark.scenario(
    Scenario(name="cleared_errors", rows=[lead("bad"), lead("ok-1"), lead("ok-2")], answer=answer)
)
def test_clear_resends_errors(case):
    """A clear gives leads in error all attempts anew, under the same id, and no others (4.5)."""
    assert case.end() == "failed"
    assert len(case.received_of("bad")) == 3

    case.clear()
    assert case.end() == "failed"
    assert len(case.received_of("bad")) == 6

    RECEIVER.mended = True
    case.clear()
    assert case.end() == "success"
    bad = case.received_of("bad")
    assert len(bad) == 7
    assert len({request.webhook_id for request in bad}) == 1
    assert case.arrivals() == ["bad", "ok-1", "ok-2"]
    attempts = [(attempt["resend"], attempt["number"]) for attempt in case.attempts("bad")]
    assert attempts == [(0, 1), (0, 2), (0, 3), (1, 1), (1, 2), (1, 3), (2, 1)]


@pytest.mark.scenario(Scenario(name="cleared_all", rows=[lead("one"), lead("two")]))
def test_clear_resends_all_where_asked(case):
    """With on_clear="resend_all" a clear sends delivered leads too, under the same ids (4.5)."""
    assert case.end() == "success"
    assert case.arrivals() == ["one", "two"]

    case.clear(only_failed=False)
    assert case.end() == "success"
    assert case.arrivals() == ["one", "one", "two", "two"]
    assert len({request.webhook_id for request in case.received}) == 2
