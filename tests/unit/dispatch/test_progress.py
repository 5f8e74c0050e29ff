"""What a task says of its work stays readable, however many leads there are."""

import logging
from datetime import UTC, datetime

import pytest

from zbl_provider.delivery.exchange import Answer
from zbl_provider.delivery.outcome import classify
from zbl_provider.dispatch.progress import Progress
from zbl_provider.log.model import Claimed

NOON = datetime(2026, 2, 23, 12, tzinfo=UTC)


@pytest.fixture
def lines(caplog):
    """Give the lines logged so far."""
    caplog.set_level(logging.INFO)
    return lambda: [record.getMessage() for record in caplog.records]


def _attempt(progress, lead_id, status, due_at=None):
    claimed = Claimed(lead_id, "msg_1", f"lead-{lead_id}", b"{}", 1, NOON, "token")
    progress.attempted(claimed, classify(Answer(status, "", None, 0.1)), due_at)


def test_a_failed_attempt_is_a_line_with_its_reason_and_what_follows(lines):
    """It names the lead by its id, the answer, and the next attempt or that there is none."""
    progress = Progress()
    _attempt(progress, 1, 200)
    _attempt(progress, 2, 503, NOON)
    _attempt(progress, 3, 404)
    retried, ended = lines()
    assert retried.startswith("Lead lead-2: attempt 1 failed: answered 503")
    assert retried.endswith("Next attempt at 12:00:00 UTC.")
    assert ended.startswith("Lead lead-3: attempt 1 failed: answered 404")
    assert ended.endswith("No further attempt.")


def test_the_first_failures_are_shown_and_the_others_counted(lines):
    """After twenty lines of failures the rest is one."""
    progress = Progress()
    for lead_id in range(25):
        _attempt(progress, lead_id, 404)
    assert len(lines()) == 20
    progress.close()
    assert lines()[20] == "5 more attempts failed; the delivery log has each."
    assert lines()[21].startswith("25 sent: 0 delivered, 0 to be retried, 25 in error;")


def test_progress_is_shown_every_few_seconds_and_at_the_end(lines):
    """Not at each group that is settled; and a task that sent nothing says nothing."""
    seconds = [0.0]
    progress = Progress(lambda: seconds[0])
    progress.close()
    assert lines() == []
    _attempt(progress, 1, 200)
    for now in (2.5, 5.0, 7.0):
        seconds[0] = now
        if progress.due:
            progress.show(41)
    assert lines() == [
        "1 sent: 1 delivered, 0 to be retried, 0 in error; 0 a second; 41 left.",
    ]
    progress.close()
    assert len(lines()) == 2
