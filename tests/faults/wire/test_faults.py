"""Every fault of the catalogue, met by a process that does nothing but send."""

from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.faults.wire.catalogue import FAULTS
from tests.faults.wire.trial import attempt
from zbl_provider.delivery.exchange import DEADLINE_SECONDS

SHORT = 1.0
# How late a busy machine may notice that the deadline is over; without one it would be a minute.
ALLOWANCE = 4.0
TOLERANCE = 0.5


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_costs_its_lead_one_attempt_and_no_other(fault):
    """It ends as the contract says, in time and in 50 MB, and harms no other lead (2.4, 3, 7.3)."""
    assert attempt(fault, SHORT).problems(SHORT + ALLOWANCE) == []


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_no_fault_stretches_the_ten_seconds():
    """No attempt takes over 10.5 s and 50 MB, whatever the destination does (2.4 and 7.3)."""
    with ThreadPoolExecutor(4) as trials:
        met = trials.map(partial(attempt, deadline=DEADLINE_SECONDS), FAULTS)
        wrong = [trial.problems(DEADLINE_SECONDS + TOLERANCE) for trial in met]
    assert [problem for problems in wrong for problem in problems] == []


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_sixteen_at_once_cost_no_more_than_one_may(fault):
    """As many requests as an integration has in flight by default share those 50 MB (7.3)."""
    assert attempt(fault, 2 * SHORT, at_once=16).harm(2 * SHORT + ALLOWANCE) == []
