"""The page finds a person by email, and keeps the email out of every address (8.8)."""

from __future__ import annotations

import csv
import json
import logging
from dataclasses import replace

import pytest
from airflow.models.log import Log as AuditLog
from airflow.utils.session import create_session
from sqlalchemy import select

from tests.integration.log.setup import failed, lead
from tests.integration.plugin.conftest import DAGS, NOW
from zbl_provider.log.model import RunKey, Settlement

ANA = "Ana.Maria@Example.com"


@pytest.fixture
def people(site):
    """Add a lead of one person to two integrations, in error, and one of somebody else."""
    for name in ("crm", "make"):
        run = site.log.begin(RunKey(DAGS[name], "send", "people"), name, 0, NOW)
        candidates = [
            replace(lead(f"{name}-{who}"), email=email)
            for who, email in (("ana", ANA.lower()), ("bob", "bob@example.com"))
        ]
        site.log.enrol(run, name, candidates, NOW)
        claimed = site.log.claim(name, 10, NOW, NOW - NOW.replace(year=2025), run=run)
        site.log.settle([Settlement(lead, failed(), NOW, None) for lead in claimed], run)
    return site


def asked_for(client, email: str = ANA) -> str:
    return client.post("/zbl/api/email-hash", json={"email": email}).json()["email_hash"]


def test_a_person_is_found_by_whoever_may_read_the_leads(people):
    """Typed in any case, the email finds the deliveries, their figures and their file (8.8)."""
    vera = people.as_("vera")
    query = f"email_hash={asked_for(vera, f' {ANA.upper()} ')}"
    rows = vera.get(f"/zbl/api/deliveries?{query}").json()["rows"]
    assert {row["lead_id"] for row in rows} == {"crm-ana", "make-ana"}
    assert vera.get(f"/zbl/api/funnel?{query}").json()["error"] == 2
    assert vera.get(f"/zbl/api/resendable?{query}").json() == {"count": 0}, "she may not resend"
    assert people.as_("ada").get(f"/zbl/api/resendable?{query}").json() == {"count": 2}
    text = vera.get(f"/zbl/api/deliveries.csv?{query}").text.removeprefix("\ufeff")
    assert {row["lead_id"] for row in csv.DictReader(text.splitlines())} == {"crm-ana", "make-ana"}
    nobody = asked_for(vera, "nobody@example.com")
    assert vera.get(f"/zbl/api/deliveries?email_hash={nobody}").json()["rows"] == []


def test_a_person_is_found_in_no_dag_that_may_not_be_read(people, only):
    """Who may read one Dag's leads finds those, and who may read none asks for nobody (8.10)."""
    only("GET", DAGS["crm"])
    vera = people.as_("vera")
    rows = vera.get(f"/zbl/api/deliveries?email_hash={asked_for(vera)}").json()["rows"]
    assert [row["lead_id"] for row in rows] == ["crm-ana"]
    only("GET")
    assert vera.post("/zbl/api/email-hash", json={"email": ANA}).status_code == 403


def test_a_resend_of_a_persons_leads_sends_those(people):
    """What is found by email can be resent like any other filter (8.4, 8.8)."""
    ada = people.as_("ada")
    given = {"filter": {"email_hash": asked_for(ada)}}
    assert ada.post("/zbl/api/resend", json=given).json()["count"] == 2
    with create_session() as session:
        last = select(AuditLog.extra).where(AuditLog.event == "zbl.resend").order_by(AuditLog.id)
        [*_, extra] = session.scalars(last)
    assert json.loads(extra) == {"filter": {}}, "what names a person would outlive an erasure"


def test_neither_an_address_nor_a_line_of_a_log_has_the_email(people, caplog):
    """The email is in the body of one request, and in nothing that is written down (8.8)."""
    caplog.set_level(logging.DEBUG)
    vera = people.as_("vera")
    answer = vera.post("/zbl/api/email-hash", json={"email": ANA})
    listed = vera.get(f"/zbl/api/deliveries?email_hash={answer.json()['email_hash']}")
    refused = vera.post("/zbl/api/email-hash", json={"email": ANA * 60})
    assert refused.status_code == 422
    shown = " ".join([str(answer.url), str(listed.url), answer.text, listed.text, refused.text])
    for written in (shown, caplog.text):
        assert "ana.maria" not in written.lower()


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        ({"Sec-Fetch-Site": "cross-site"}, {"email": ANA}, 403),
        ({"Content-Type": "text/plain"}, {"email": ANA}, 415),
        ({}, {}, 422),
        ({}, {"email": ""}, 422),
        ({}, {"email": ANA, "other": 1}, 422),
    ],
)
def test_only_this_page_asks_for_a_person(people, headers, body, status):
    """Another site cannot ask, and a request that is none is refused (7.2, 8.8)."""
    headers = {"Content-Type": "application/json"} | headers
    answer = people.as_("ada").post(
        "/zbl/api/email-hash", content=json.dumps(body), headers=headers
    )
    assert answer.status_code == status


@pytest.mark.parametrize("given", [ANA, "0" * 15, "0" * 17, f"{'0' * 16}.", f"{'0' * 16}.x", "%00"])
def test_what_is_no_hash_is_refused(people, given):
    """An address that somebody made up finds nothing, an email in it included (7.2, 8.8)."""
    answer = people.as_("ada").get(f"/zbl/api/deliveries?email_hash={given}")
    assert answer.status_code == 422
    assert ANA not in answer.text
