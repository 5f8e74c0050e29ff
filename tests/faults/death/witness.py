"""What is left when a worker has died, and what must hold in the end."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from tests.support.receiver import Received, Reply
from tests.support.rest import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.integration.dispatch.conftest import Setup

_THINKING_SECONDS = 0.01  # so that outcomes come in several groups

_BACKENDS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name LIKE '{}'
"""
_HELD = "SELECT lead_id FROM zbl_delivery WHERE status = 'sending' AND claim LIKE '{}:%'"
_ATTEMPTS = """
SELECT d.lead_id, count(*), count(CASE WHEN a.status_code = 200 THEN 1 END)
FROM zbl_attempt a JOIN zbl_delivery d ON d.id = a.delivery_id GROUP BY d.lead_id
"""
_LONGEST = """
SELECT max(made) FROM (SELECT count(*) AS made FROM zbl_attempt GROUP BY delivery_id, resend) n
"""
OPEN = "SELECT lead_id FROM zbl_delivery WHERE status IN ('pending', 'sending', 'retrying')"


def moody(request: Received) -> Reply:
    """Refuse some leads for good, and some for the first time."""
    lead_id = int(request.lead_id)
    if lead_id % 15 == 1:
        return Reply(422)
    return Reply(503 if lead_id % 10 == 0 and not request.before else 200, after=_THINKING_SECONDS)


def refused(numbers: Iterable[int]) -> int:
    """Return how many of the leads `moody` refuses for good."""
    return sum(lead_id % 15 == 1 for lead_id in numbers)


def held_by(setup: Setup, name: str) -> set[str]:
    """Return the leads that a dead worker had claimed and not settled: those in flight."""
    if setup.log_url.startswith("postgresql"):
        # What it had sent to the server may still be carried out there.
        query = _BACKENDS.format(name)
        wait_for("the end of its sessions", lambda: setup.rows(query) == [(0,)], seconds=30)
    return {lead_id for (lead_id,) in setup.rows(_HELD.format(name))}


class Tally:
    """
    How often each lead was received, and how often it should have been.

    :param setup: after the end
    :param in_flight: how often each lead was in flight at a kill
    """

    def __init__(self, setup: Setup, in_flight: Counter[str]) -> None:
        received = setup.receiver.received
        self._times = Counter(request.lead_id for request in received)
        self._well = Counter(request.lead_id for request in received if request.status == 200)
        self._ids = {(request.lead_id, request.webhook_id) for request in received}
        self._attempts = {lead_id: made for lead_id, *made in setup.rows(_ATTEMPTS)}
        self._in_flight = in_flight
        self.longest = setup.rows(_LONGEST)[0][0]
        delivered = setup.rows("SELECT lead_id FROM zbl_delivery WHERE status = 'delivered'")
        self.lost = {lead_id for (lead_id,) in setup.rows(OPEN)}
        self.lost |= {lead_id for (lead_id,) in delivered if not self._well[lead_id]}

    @property
    def same_ids(self) -> bool:
        """Whether each lead always came under one webhook-id."""
        return len(self._ids) == len(self._times)

    def more_than_recorded(self) -> Counter[str]:
        """Return how often each lead was received beyond its recorded attempts."""
        return self._times - Counter({lead: made[0] for lead, made in self._attempts.items()})

    def without_need(self) -> Counter[str]:
        """Return how often leads were received that were in flight at no kill."""
        return self.more_than_recorded() - self._in_flight

    def unfounded(self) -> Counter[str]:
        """Return recorded attempts that the receiver has never seen."""
        return Counter({lead: made[0] for lead, made in self._attempts.items()}) - self._times

    def check(self) -> None:
        """Hold what must hold, whoever died when (Contract 3.1, 6.2)."""
        assert self.lost == set()
        assert self.without_need() == Counter()
        assert self.unfounded() == Counter()
        assert self.same_ids
        assert self.longest <= 5
