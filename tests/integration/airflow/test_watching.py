"""The trigger for asset watchers: what it finds, what it says, what it survives (Contract 8.2)."""

import asyncio
import os
import sqlite3
import subprocess
import sys
import time
from contextlib import aclosing
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

from structlog.testing import capture_logs

from tests.support.receiver import Reply
from zbl_provider.hooks.leads_query import LeadsQuery
from zbl_provider.operators.dispatch import DispatchLeadsOperator
from zbl_provider.triggers.leads import QualifiedLeadTrigger

QUERY = {"sql": "SELECT * FROM leads", "leads_conn_id": "zbl_leads"}
MARKER = "marker"


def _row(lead_id, **fields):
    row = {"id": lead_id, "email": f"{MARKER}{lead_id}@example.com", "status": "qualified"}
    return row | fields


def _context():
    task_instance = SimpleNamespace(
        dag_id="dag",
        task_id="send",
        run_id="run",
        map_index=None,
        max_tries=0,
        id="1",
        try_number=1,
    )
    return {"ti": task_instance}


def _watch(**options):
    return QualifiedLeadTrigger(**QUERY | options, poll_interval=0.01)


async def _events(trigger, change=lambda: None, *, count=1):
    """Give the events that come, and those that come after a change."""
    payloads = []
    async with aclosing(trigger.run()) as events:
        async for event in events:
            payloads.append(event.payload)
            if len(payloads) == count:
                return payloads
            changed = change()
            if changed is not None:
                await changed
    return payloads


async def test_leads_are_announced_once_and_new_ones_anew(leads, receiver):
    """An event counts what waits; the next one comes when there is more (Contract 8.2, 4.3)."""
    leads(_row(1), _row(2, status="new"))
    events = await _events(_watch(), lambda: leads(_row(0), _row(3, email="no address")), count=2)
    assert events == [
        {"integration": "zbl_webhook_default", "leads": 1, "overdue": 0},
        {"integration": "zbl_webhook_default", "leads": 3, "overdue": 0},
    ]
    assert receiver.received == []


async def test_late_commits_and_commits_out_of_order_are_found(leads, receiver):
    """Ids are compared, and no high-water mark: an older lead is news like any other (8.2)."""

    def send_then_commit_late():
        DispatchLeadsOperator(task_id="send", **QUERY).execute(_context())
        leads(_row(3, qualified_at="2026-01-01T00:00:00Z"))

    leads(_row(7, qualified_at="2026-02-01T00:00:00Z"))
    events = await _events(_watch(), lambda: asyncio.to_thread(send_then_commit_late), count=2)
    assert [event["leads"] for event in events] == [1, 1]
    assert [request.lead_id for request in receiver.received] == ["7"]


async def test_leads_that_nobody_sends_are_announced_too(leads, receiver):
    """Those of a run that died, and retries that no task waits for (Contract 8.2, 4.6)."""
    leads(_row(1))
    receiver.answer = lambda _: Reply(503)
    send = DispatchLeadsOperator(task_id="send", **QUERY, schedule=(1,), wait_for_retries=False)
    await asyncio.to_thread(send.execute, _context())
    with sqlite3.connect(Path(os.environ["AIRFLOW_HOME"]) / "zbl_delivery_log.db") as log:
        log.execute("UPDATE zbl_delivery SET due_at = '2026-01-01T00:00:00.000000+00:00'")
    assert await _events(_watch()) == [
        {"integration": "zbl_webhook_default", "leads": 0, "overdue": 1}
    ]


async def test_a_watcher_outlives_whatever_is_wrong(leads, receiver):
    """It says so once, without data, and goes on: an ended one would be started anew (8.2)."""
    leads(_row(1, name=MARKER))
    watcher = _watch(sql="SELECT name -> '$' AS id FROM leads")

    def repair():
        watcher.sql = "SELECT * FROM leads"

    with capture_logs() as lines:
        asyncio.get_running_loop().call_later(0.5, repair)
        assert await _events(watcher) == [
            {"integration": "zbl_webhook_default", "leads": 1, "overdue": 0}
        ]
    told = [line["event"] for line in lines]
    assert len(told) == 2
    assert told[0].startswith("Watching leads for zbl_webhook_default: the database of")
    assert told[1] == "Watching leads for zbl_webhook_default again."
    assert MARKER not in str(lines)


PROGRAM = """
import asyncio, sys
from zbl_provider.triggers.delivery import LeadDeliveryTrigger
from zbl_provider.triggers.leads import LeadsWaitTrigger, QualifiedLeadTrigger

query = {"sql": "SELECT * FROM leads", "leads_conn_id": "zbl_leads"}

async def main():
    for trigger in (QualifiedLeadTrigger(**query), LeadsWaitTrigger(**query)):
        print((await anext(trigger.run())).payload)
    lost = LeadDeliveryTrigger(lead_ids=["1"], webhook_conn_id="zbl_webhook_default")
    waiting = asyncio.ensure_future(anext(lost.run()))
    await asyncio.wait([waiting], timeout=1)
    print(waiting.done())

asyncio.run(main())
senders = {
    "zbl_provider.delivery.transport",
    "zbl_provider.dispatch.drain",
    "zbl_provider.dispatch.dispatcher",
}
print("sends" if senders & {*sys.modules} else "reads")
"""


def test_triggers_could_not_send_if_they_wanted(leads, receiver):
    """Their process does not even load what sends; the log holds no lead afterwards (3.4)."""
    leads(_row(1))
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    ).stdout
    assert output.splitlines()[-4:] == [
        "{'integration': 'zbl_webhook_default', 'leads': 1, 'overdue': 0}",
        "{'found': True}",
        "False",
        "reads",
    ]
    assert receiver.received == []
    with sqlite3.connect(Path(os.environ["AIRFLOW_HOME"]) / "zbl_delivery_log.db") as log:
        assert log.execute("SELECT count(*) FROM zbl_delivery").fetchall() == [(0,)]


async def test_a_look_that_takes_long_is_followed_by_a_longer_pause(leads, receiver, monkeypatch):
    """However many rows a query has, other triggers of the process get their turn (8.2)."""
    trigger, looks = _watch(), []
    # The first look makes the log's tables, which takes a time of its own.
    await asyncio.to_thread(LeadsQuery.of(trigger).backlog)
    look, enough, loop = LeadsQuery.backlog, asyncio.Event(), asyncio.get_running_loop()

    def timed(query):
        began = time.monotonic()
        try:
            time.sleep(0.2)  # as many rows take; to read them would take minutes on a busy machine
            return look(query)
        finally:
            looks.append((began, time.monotonic()))
            if len(looks) == 3:
                loop.call_soon_threadsafe(enough.set)

    monkeypatch.setattr(LeadsQuery, "backlog", timed)
    watching = asyncio.create_task(_events(trigger))
    await enough.wait()
    watching.cancel()
    pauses = [after[0] - before[1] for before, after in pairwise(looks)]
    assert all(
        pause >= 3.9 * (end - began) for pause, (began, end) in zip(pauses, looks, strict=False)
    )
