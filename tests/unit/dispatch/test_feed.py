"""How what was found is cut into batches, before any of it is written (Contract 4.2)."""

from datetime import UTC, datetime

from zbl_provider.delivery.destination import Destination
from zbl_provider.dispatch.feed import Feed
from zbl_provider.leads.lead import read_lead
from zbl_provider.log.model import Run, Status
from zbl_provider.log.outbox.decision import Rule
from zbl_provider.log.store import DeliveryLog

MIB = 2**20
DESTINATION = Destination.parse(integration="zapier", host="https://hooks.example/")


def test_a_batch_of_large_leads_is_small(monkeypatch, tmp_path):
    """However large leads are, a write of the log has some megabytes at most, and none is lost."""
    monkeypatch.setattr("zbl_provider.dispatch.feed._BATCH_SECONDS", 600)
    notes = "x" * (MIB - 10_000)
    leads = [read_lead({"id": lead_id, "notes": notes}) for lead_id in range(30)]
    log = DeliveryLog(f"sqlite:///{tmp_path}/log.db")
    log.upgrade()
    feed = Feed(
        log=log,
        run=Run(1, cleared=False),
        destination=DESTINATION,
        rule=Rule(),
        leads=leads,
        clock=lambda: datetime(2026, 1, 1, tzinfo=UTC),
    )
    batches = list(feed.batches())
    assert all(sum(len(candidate.body) for candidate in batch) < 9 * MIB for batch in batches)
    candidates = [candidate for batch in batches for candidate in batch]
    assert [candidate.lead_id for candidate in candidates] == [
        str(lead_id) for lead_id in range(30)
    ]
    assert {candidate.status for candidate in candidates} == {Status.PENDING}
    log.close()
