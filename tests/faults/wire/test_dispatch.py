"""A hostile destination among good ones, through the whole of a dispatch."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.faults.wire.catalogue import FAULTS
from tests.support.databases import log_url, postgres
from tests.support.peers import answer, response
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
from zbl_provider.leads.lead import read_lead
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import RunKey, Status
from zbl_provider.log.store import DeliveryLog

__all__ = ["log_url", "postgres"]

NOON = datetime(2026, 2, 23, 12, 0, tzinfo=UTC)
GOOD_LEADS = 300
# Each is met by a lead of its own, whose id is its name, all at the same time.
MET = {
    fault.name: fault
    for fault in FAULTS
    if fault.name
    in {
        "resets within the headers", "drips headers", "one endless header", "garbage", "HTTP/0.9",
        "100 Continue without end", "Content-Length negative", "drips a body", "a body of 10 GB",
        "a gzip bomb", "invalid UTF-8", "control characters", "HTML", "status 999",
        "a redirect to the metadata service", "two answers at once",
    }
}  # fmt: skip
BECOMES = {"delivered": "delivered", "retry": "retrying", "error": "error"}


@pytest.fixture
def log(log_url):
    opened = DeliveryLog(log_url)
    yield opened
    opened.close()


@pytest.fixture
def dispatcher(log, ca_file):
    """Build a dispatcher for a receiver."""

    def build(integration, receiver, now=NOON):
        return Dispatcher(
            log=log,
            destination=Destination.parse(
                integration=integration, host=receiver.url(), extra={"verify": ca_file}
            ),
            guard=Guard.parse("127.0.0.0/8"),
            policy=Policy(schedule=Schedule.parse((60,))),
            clock=lambda: now,
        )

    return build


@pytest.fixture
def details(log):
    """Give all that the log knows about an integration's leads."""

    def give(integration):
        rows = log.reader.deliveries(Query(integration=integration), limit=1000).rows
        return [log.reader.delivery(row.delivery_id) for row in rows]

    return give


def misbehave(peer, request):
    """Do to each lead what its id says."""
    MET[json.loads(request.body)["lead"]["id"]].request(peer, request)


def test_a_hostile_destination_harms_itself_alone(receive, dispatcher, details):
    """Its leads end as the contract says, others' leads are delivered meanwhile (3, 6.3, 7.3)."""
    assert len(MET) == 16, "as many as are in flight at once"
    hostile, good = receive(misbehave), receive(answer())
    with ThreadPoolExecutor(2) as tasks:
        leads = [read_lead({"id": name}) for name in MET]
        bad = tasks.submit(
            dispatcher("hostile", hostile).dispatch, RunKey("dag", "bad", "run"), 0, leads
        )
        many = (read_lead({"id": lead_id}) for lead_id in range(GOOD_LEADS))
        fine = dispatcher("good", good).dispatch(RunKey("dag", "good", "run"), 0, many)
        assert fine.counts == {Status.DELIVERED: GOOD_LEADS}
        assert bad.result().due_at == NOON + timedelta(minutes=1)
    assert len(good.requests) == GOOD_LEADS
    met = details("hostile")
    assert {detail.row.lead_id for detail in met} == set(MET)
    for detail in met:
        verdict, reason = MET[detail.row.lead_id].outcomes[0].split()
        (attempt,) = detail.attempts
        assert detail.row.status == BECOMES[verdict], detail.row
        assert str(attempt.kind or attempt.status_code) == reason, detail.row
        assert is_harmless(attempt.excerpt or ""), detail.row


def is_harmless(excerpt):
    visible = all(character.isprintable() or character in "\n\t" for character in excerpt)
    return visible and len(excerpt.encode()) <= 4096


def test_after_its_bad_minute_a_destination_gets_what_it_missed(receive, dispatcher, details):
    """What was to be retried goes out once more, under the same webhook-id (Contract 2.3, 3)."""
    bad_minutes = [True]

    def behave(peer, request):
        if bad_minutes:
            MET["garbage"].request(peer, request)
        else:
            peer.send(response())

    receiver = receive(behave)
    # Fewer than would have it count as down, in which case some of them would not be tried.
    leads, key = [read_lead({"id": lead_id}) for lead_id in range(9)], RunKey("dag", "task", "run")
    due_at = dispatcher("hostile", receiver).dispatch(key, 0, leads).due_at
    bad_minutes.clear()
    report = dispatcher("hostile", receiver, due_at).dispatch(key, 0, ())
    assert report.counts == {Status.DELIVERED: 9}
    ids = [request.headers["webhook-id"] for request in receiver.requests]
    assert (len(ids), len(set(ids))) == (18, 9)
    assert {len(detail.attempts) for detail in details("hostile")} == {2}
