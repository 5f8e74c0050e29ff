"""A query that looks back: what was delivered is passed over, wherever it stands (Contract 4.4)."""

import pytest

from zbl_provider.dispatch import feed
from zbl_provider.log.model import Status

DELIVERED = range(30)
NEW = range(100, 400)


@pytest.mark.parametrize("first", ["delivered", "new", "mixed"])
def test_what_was_delivered_is_passed_over_wherever_it_stands(setup, monkeypatch, first):
    """The log is asked less often while all is new; what follows is told by enrolment (4.4)."""
    monkeypatch.setattr(feed, "_FIRST_BATCH", 5)
    monkeypatch.setattr(feed, "_LARGEST_BATCH", 10)
    setup.dispatch("run 1", DELIVERED)
    rows = {
        "delivered": [*DELIVERED, *NEW],
        "new": [*NEW, *DELIVERED],
        "mixed": sorted([*DELIVERED, *NEW], key=lambda lead_id: lead_id % 7),
    }[first]
    asked = []
    unsettled = setup.log.unsettled
    setup.log.unsettled = lambda *args: asked.append(1) or unsettled(*args)
    report = setup.dispatch("run 2", rows)
    assert report.counts == {Status.DELIVERED: len(NEW)}
    assert report.skipped == len(DELIVERED)
    assert sorted(setup.sent, key=int) == [str(lead_id) for lead_id in (*DELIVERED, *NEW)]
    assert 0 < len(asked) < len(rows) / 10
