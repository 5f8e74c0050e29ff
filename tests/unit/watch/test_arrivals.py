"""Whether the leads that somebody waits for have arrived."""

import pytest

from zbl_provider.log.model import Status
from zbl_provider.log.outbox.decision import Known
from zbl_provider.watch.arrivals import Arrivals


def _known(status):
    reason = "answered 401" if status in {Status.ERROR, Status.INVALID, Status.FILTERED} else None
    return Known(1, status, reason, "", 1, 0, own=False, has_payload=True)


def _judge(*statuses, if_filtered="fail"):
    wanted = {f"msg_{n}": str(n) for n in range(len(statuses))}
    known = {f"msg_{n}": _known(status) for n, status in enumerate(statuses) if status}
    return Arrivals.judge(wanted, known | {"msg_other": _known(Status.ERROR)}, if_filtered)


@pytest.mark.parametrize(
    ("statuses", "arrived", "over"),
    [
        ([], True, True),
        ([Status.DELIVERED, Status.DELIVERED], True, True),
        ([Status.DELIVERED, None], False, False),
        ([Status.DELIVERED, Status.PENDING], False, False),
        ([Status.SENDING, Status.RETRYING], False, False),
        ([Status.ERROR, Status.PENDING], False, True),
        ([Status.INVALID, None], False, True),
        ([Status.FILTERED, Status.DELIVERED], False, True),
    ],
)
def test_the_wait_is_over_when_all_are_delivered_or_one_has_failed(statuses, arrived, over):
    """One that the log does not know yet is waited for (Contract 8.1)."""
    leads = _judge(*statuses)
    assert (leads.arrived, leads.over) == (arrived, over)


def test_what_is_filtered_can_be_accepted():
    """It counts apart, and is no failure (Contract 5.4 and 8.1)."""
    leads = _judge(Status.FILTERED, Status.DELIVERED, if_filtered="accept")
    assert leads.arrived
    assert leads.summary == {"delivered": 1, "filtered": 1}
    assert not _judge(Status.FILTERED, None, if_filtered="accept").over


def test_a_failure_counts_names_and_says_what_to_do():
    """As the operators' does: three are named, by id, with the reason (Contract 4.7)."""
    statuses = [Status.ERROR, Status.INVALID, Status.FILTERED, Status.ERROR, Status.DELIVERED]
    assert _judge(*statuses).failure("zapier") == (
        "4 of 5 leads were not delivered to zapier: 2 in error, 1 invalid, 1 filtered. "
        "lead 0 (error: answered 401); lead 1 (invalid: answered 401); "
        "lead 2 (filtered: answered 401); …. "
        "Fix the cause and send them again, then clear this task."
    )
