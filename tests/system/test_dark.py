"""A destination that is dark at first, in a real Airflow (Contract 8.7)."""

from types import SimpleNamespace

import pytest

from tests.support.receiver import Reply
from tests.system.case import Scenario, lead, select

ROWS = [lead(f"dark-{n:03}") for n in range(200)]
IN_A_ROW, AT_ONCE = 10, 4
RECEIVER = SimpleNamespace(lit=False, failed=0)


def is_down(case):
    """Tell whether the log says so."""
    query = "SELECT 1 FROM zbl_integration WHERE integration = :name AND down_at IS NOT NULL"
    return select(case.stage.databases["log"], query, name=case.name)


def light(case):
    """Bring it back once the task waits, before the second attempts."""
    case.wait_for_task("deferred", seconds=120)
    assert is_down(case)
    RECEIVER.failed = len(case.received)
    RECEIVER.lit = True


@pytest.mark.scenario(
    Scenario(
        name="dark",
        rows=ROWS,
        answer=lambda _: Reply(200 if RECEIVER.lit else 503),
        extra={"max_concurrency": AT_ONCE},
        during=light,
    )
)
def test_a_destination_that_was_dark_gets_everything_and_nobody_lifts_a_hand(case):
    """Few requests meanwhile, nothing in error, and the task says that nothing is to do (8.7)."""
    assert case.end(seconds=200) == "success"
    assert IN_A_ROW <= RECEIVER.failed <= IN_A_ROW + AT_ONCE
    assert len(case.received) <= len(ROWS) + 2 * (IN_A_ROW + AT_ONCE), "the tried ones again"
    assert case.arrivals() == [row["id"] for row in ROWS]
    assert {row["status"] for row in case.log_rows().values()} == {"delivered"}
    assert not is_down(case)
    said = case.task_log()
    assert "dark has been down since" in said
    assert "Nothing needs to be done" in said
    assert "it is back" in said
