"""A destination whose configuration is wrong is paused, in a real Airflow (Contract 8.6)."""

import pytest

from tests.support.receiver import Reply
from tests.system.case import Scenario, lead

ROWS = [lead(f"paused-{n:02}") for n in range(60)]
MOST = 10 + 16  # ten in a row, and max_concurrency


@pytest.mark.scenario(
    Scenario(
        name="paused",
        rows=ROWS,
        # Its login is corrected when the task is cleared.
        answer=lambda request: Reply(200 if "mended" in request.headers["x-key"] else 401),
        extra={"secret_headers": {"X-Key": "wrong"}},
    )
)
def test_a_pause_fails_the_task_once_and_a_clear_sends_everything(case):
    """Not retried, not deferred, not hammered; after the fix a clear delivers all (8.6)."""
    assert case.end() == "failed"
    assert 10 <= len(case.received) <= MOST
    assert case.task()["try_number"] == 1
    said = case.task_log()
    assert "paused is paused: answered 401 Unauthorized" in said
    assert f"{len(ROWS) - len(case.received)} leads of this task wait" in said

    before = len(case.received)
    case.clear()
    assert case.end() == "failed"
    assert len(case.received) == before + 1

    host = case.rest.connection("paused")["host"]
    extra = {"verify": case.stage.authority, "secret_headers": {"X-Key": "mended"}}
    case.rest.update_connection("paused", "zbl_webhook", host=host, extra=extra)
    case.clear()
    assert case.end() == "success"
    assert case.arrivals() == [row["id"] for row in ROWS]
