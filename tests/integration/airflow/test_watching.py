"""The trigger for asset watchers: what it finds, what it says, what it survives (Contract 8.2)."""

from contextlib import aclosing

from zbl_provider.triggers.leads import QualifiedLeadTrigger

QUERY = {"sql": "SELECT * FROM leads", "leads_conn_id": "zbl_leads"}
MARKER = "marker"


def _row(number, **fields):
    row = {"id": number, "email": f"{MARKER}{number}@example.com", "status": "qualified"}
    return row | fields


def _watch(**options):
    return QualifiedLeadTrigger(**QUERY, **options, poll_interval=0.01)


async def _events(trigger, change=lambda: None, *, count=1):
    """Give the events that come, and those that come after a change."""
    found = []
    async with aclosing(trigger.run()) as events:
        async for event in events:
            found.append(event.payload)
            if len(found) == count:
                return found
            change()
    return found


async def test_leads_are_announced_once_and_new_ones_anew(leads, receiver):
    """An event counts what waits; the next one comes when there is more (Contract 8.2, 4.3)."""
    leads(_row(1), _row(2, status="new"))
    found = await _events(_watch(), lambda: leads(_row(0), _row(3, email="no address")), count=2)
    assert found == [
        {"integration": "zbl_webhook_default", "leads": 1, "overdue": 0},
        {"integration": "zbl_webhook_default", "leads": 3, "overdue": 0},
    ]
    assert receiver.received == []
