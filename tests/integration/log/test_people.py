"""A person is found by email, as long as a resend may need the data, and no longer (8.8)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet, MultiFernet
from sqlalchemy import text

from tests.integration.log.setup import ZAPIER, Setup, delivered, failed, lead
from zbl_provider.leads.payload import webhook_id
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import Rotated, RunKey, Status
from zbl_provider.log.storage import tables
from zbl_provider.log.store import DeliveryLog

NEW, OLD = Fernet.generate_key(), Fernet.generate_key()
ANA = "ana@example.com"


@pytest.fixture
def with_keys(log_url):
    """Open the test's log with keys, as Airflow's settings would have it."""
    opened = []

    def open_log(*keys):
        cipher = MultiFernet([Fernet(key) for key in keys]) if keys else None
        opened.append(DeliveryLog(log_url, cipher=cipher, keys=keys))
        return Setup(opened[-1])

    yield open_log
    for setup in opened:
        setup.close()


@pytest.fixture(params=[(NEW,), ()], ids=["with a key", "without a key"])
def people(request, with_keys):
    return with_keys(*request.param)


def person(lead_id, email=ANA, **fields):
    """Return a candidate with an email in its payload, and the webhook-id that it really has."""
    body = f'{{"event": "lead.qualified", "lead": {{"email": "{email}"}}}}'.encode()
    made = lead(lead_id, **{"body": body} | fields)
    return replace(made, webhook_id=webhook_id(ZAPIER, lead_id), email=email)


def leads_of(setup, email=ANA, **more):
    """Return the ids of the leads that a person is found by."""
    query = Query(email_hashes=setup.log.reader.email_hashes(email), **more)
    return sorted(row.lead_id for row in setup.log.reader.deliveries(query).rows)


def hashes(setup):
    return {row.lead_id: row.email_hash for row in setup.rows()}


def test_all_leads_of_a_person_are_found(people):
    """In whatever case and with blanks around it, among others, under other filters too (8.8)."""
    run = people.run()
    people.deliver(run, person("1"), person("2", " ANA@Example.com"), person("3", "bob@x.com"))
    people.fail(run, person("4"), lead("5"))
    assert leads_of(people, "\tAna@EXAMPLE.com ") == ["1", "2", "4"]
    assert leads_of(people, status=Status.ERROR) == ["4"]
    assert leads_of(people, integration="another") == []
    assert leads_of(people, "") == leads_of(people, "an@example.com") == []
    query = Query(email_hashes=people.log.reader.email_hashes(ANA))
    assert people.log.reader.funnel(query) == {Status.DELIVERED: 2, Status.ERROR: 1}
    now = people.now + timedelta(minutes=1)
    activity = people.log.reader.activity(query, now=now)
    assert (
        sum(bucket.delivered for bucket in activity),
        sum(bucket.failed for bucket in activity),
    ) == (2, 1)
    assert people.log.resendable(query) == 1


def test_pages_of_a_person_follow_each_other(people):
    """Who has many leads has them page by page, the newest first (8.4, 8.8)."""
    people.enrol(people.run(), *(person(f"{n}") for n in range(5)))
    query = Query(email_hashes=people.log.reader.email_hashes(ANA))
    page = people.log.reader.deliveries(query, limit=3)
    rest = people.log.reader.deliveries(query, limit=3, before=page.next)
    assert [row.lead_id for row in page.rows + rest.rows] == ["4", "3", "2", "1", "0"]


def test_no_email_rests_in_the_log(with_keys):
    """With a key neither the email nor a hash that can be tried without it is there (6.4, 8.8)."""
    keyed = with_keys(NEW)
    keyed.enrol(keyed.run(), person("1"))
    plain = with_keys()
    assert leads_of(plain) == []
    rests = repr([keyed.rows(table) for table in tables.metadata.tables.values()])
    assert ANA not in rests
    assert str(hashes(keyed)["1"]) in rests


@pytest.mark.parametrize("status", [Status.FILTERED, Status.INVALID])
def test_what_is_kept_back_has_no_hash(people, status):
    """Of a lead that is not sent its id and the reason alone rest, before and after (5.4, 6.4)."""
    run = people.run()
    people.enrol(run, person("1", status=status, reason="r", body=None), person("2"))
    people.enrol(run, person("2", status=status, reason="r", body=None, fingerprint="f2"))
    assert hashes(people) == {"1": None, "2": None}
    people.enrol(run, person("1", fingerprint="f3"))
    assert leads_of(people) == ["1"], "it is sent after all"


def test_a_lead_that_changes_is_found_by_its_new_email(people):
    """What is sent next is what a person is found by (8.8)."""
    run = people.run()
    people.enrol(run, person("1", "old@x.com"))
    people.enrol(run, person("1", fingerprint="f2"))
    assert (leads_of(people), leads_of(people, "old@x.com")) == (["1"], [])


def test_erasure_removes_the_hash(people):
    """Who was forgotten is found by nobody, whatever became of the leads (6.4, 8.8)."""
    run = people.run()
    people.deliver(run, person("1"))
    people.fail(run, person("2"))
    for lead_id in ("1", "2"):
        assert people.log.erase(lead_id, people.now).deliveries == 1
    assert leads_of(people) == []
    assert set(hashes(people).values()) == {None}


def test_retention_removes_the_hash_with_the_payload(people):
    """It rests as long as a resend may need the data, and no longer (6.4, 8.8)."""
    run = people.run()
    people.deliver(run, person("1"))
    people.later(days=31)
    people.fail(run, person("2"))
    assert people.log.purge_payloads(people.now, timedelta(days=30)) == 1
    assert hashes(people) == {"1": None, "2": hashes(people)["2"]}
    assert leads_of(people) == ["2"]


@pytest.mark.parametrize("before", [(OLD,), ()], ids=["from a key", "from none"])
def test_a_rotation_leaves_no_hash_of_the_old_key(with_keys, before):
    """Found before, meanwhile and after; the old key finds nobody any more (6.4, 8.8)."""
    old = with_keys(*before)
    old.enrol(old.run(), person("1"), person("2", "bob@x.com"))
    both = with_keys(NEW, *before)
    both.enrol(both.run(), person("3"))
    assert leads_of(both) == ["1", "3"]
    assert both.log.rotate() == Rotated(renewed=3, unreadable=0, after=None)
    assert leads_of(both) == leads_of(with_keys(NEW)) == ["1", "3"]
    assert leads_of(old) == []
    assert both.log.rotate() == Rotated(renewed=3, unreadable=0, after=None), "may be done again"
    assert leads_of(with_keys(NEW)) == ["1", "3"]


def test_a_rotation_says_who_is_no_longer_found(with_keys):
    """Where the body has the email nowhere the old hash goes, and is counted (2.7, 8.8)."""
    old = with_keys(OLD)
    old.enrol(old.run(), person("1", body=b'{"id": 1}'), person("2", body=b'["ANA@example.com"]'))
    assert leads_of(old) == ["1", "2"]
    both = with_keys(NEW, OLD)
    assert both.log.rotate() == Rotated(renewed=2, unreadable=0, after=None, unfindable=1)
    assert leads_of(both) == ["2"]
    assert hashes(both)["1"] is None


def test_what_no_key_reads_keeps_its_hash(with_keys):
    """It is as it was when its key is put back (6.4, 8.8)."""
    foreign = with_keys(OLD)
    foreign.enrol(foreign.run(), person("1"))
    assert with_keys(NEW).log.rotate().unreadable == 1
    assert leads_of(with_keys(NEW)) == []
    assert leads_of(with_keys(NEW, OLD)) == ["1"]


def test_a_rotation_finds_leads_of_an_earlier_version(people):
    """What was enrolled before there were hashes is found after a rotation (8.8)."""
    people.enrol(people.run(), person("1"))
    with people.log._engine.begin() as connection:
        connection.execute(text("UPDATE zbl_delivery SET email_hash = NULL"))
    assert leads_of(people) == []
    people.log.rotate()
    assert leads_of(people) == ["1"]


def test_processes_that_open_the_log_at_once_have_one_salt(with_keys):
    """What one worker writes, every other finds (8.8)."""
    first, second = with_keys(NEW), with_keys(NEW)
    first.enrol(first.run("a"), person("1"))
    other = second.log.begin(RunKey("dag", "other", "b"), "make", 0, second.now)
    second.log.enrol(other, "make", [replace(person("1"), webhook_id="msg_x")], second.now)
    assert leads_of(first) == leads_of(second) == ["1", "1"]


def test_a_person_in_flight_is_found(people):
    """Claims and outcomes leave the hash as it is (8.8)."""
    run = people.run()
    people.enrol(run, person("1"))
    claimed = people.claim(run)
    assert leads_of(people) == ["1"]
    people.settle(run, claimed, failed(), people.now)
    assert leads_of(people) == ["1"]
    people.settle(run, people.claim(run), delivered())
    assert leads_of(people) == ["1"]
