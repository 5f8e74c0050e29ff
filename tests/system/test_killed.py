"""A worker that is lost."""

import threading

import pytest

from tests.support.receiver import Reply
from tests.system.case import Scenario, lead

IN_FLIGHT = threading.Event()


def answer(request):
    """Refuse one lead always, and think about another for so long that its worker can be killed."""
    if request.lead_id == "refused":
        return Reply(500)
    if request.lead_id == "slow" and not request.before:
        IN_FLIGHT.set()
        return Reply(after=5)
    return Reply()


def kill_the_worker(case):
    """Kill the task and its supervisor while one lead is in flight and another waits."""
    assert IN_FLIGHT.wait(60)
    # The refused lead's outcome is written before anything happens to its worker.
    while not case.attempts("refused"):
        pass
    workers = case.workers()
    assert workers
    for worker in workers:
        worker.kill()


@pytest.mark.scenario(
    Scenario(
        name="killed",
        rows=[lead("quick"), lead("refused"), lead("slow")],
        answer=answer,
        during=kill_the_worker,
    )
)
def test_a_killed_worker_costs_nothing(case):
    """After a SIGKILL the task goes on: no lead lost, no attempt added, the same ids (3.2, 6.2)."""
    assert case.end(seconds=200) == "failed"

    assert case.task()["try_number"] >= 2
    assert len(case.received_of("quick")) == 1
    assert [attempt["number"] for attempt in case.attempts("refused")] == [1, 2, 3, 4]
    assert len(case.received_of("refused")) == 4
    slow = case.received_of("slow")
    assert len(slow) == 2
    assert len({request.webhook_id for request in slow}) == 1
    assert [attempt["number"] for attempt in case.attempts("slow")] == [1]
    statuses = {lead_id: row["status"] for lead_id, row in case.log_rows().items()}
    assert statuses == {"quick": "delivered", "refused": "error", "slow": "delivered"}
