"""The guides of docs/destinations: file, body, and a service that answers as it documents."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from urllib.parse import urlsplit

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.integration.destinations.formats import SERVICES
from tests.support.commands import ROOT
from tests.support.receiver import Receiver, Reply
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
from zbl_provider.leads import payload
from zbl_provider.leads.lead import read_lead
from zbl_provider.log.model import RunKey, Status
from zbl_provider.log.store import DeliveryLog

FOLDER = ROOT / "docs" / "destinations"
FILES = {
    name: fields
    for file in FOLDER.glob("*.yaml")
    for name, fields in yaml.safe_load(file.read_text()).items()
}
LONG = "<b>& " * 190
LEADS = [
    {"id": 1, "email": "ana@example.com", "name": "Ana de Souza", "phone": "+5511999999999",
     "company": "A & B <Ltda>", "score": 85, "city": "São Paulo", "job_title": "CEO",
     "list_id": 7, "list_name": "Google Ads"},
    {"id": 2, "email": "b@example.com"},
    {"id": 3, "name": "Zoë", "phone": "1"},
    {"id": 4},
    {"id": 5, "email": "c@example.com", "name": LONG, "company": LONG, "list_name": LONG},
]  # fmt: skip


class Stage:
    """A service at the other end, and the integration that its file describes."""

    def __init__(self, name, receiver, folder):
        self.service = SERVICES[name]
        self.receiver = receiver
        self.now = datetime(2026, 2, 23, 14, 30, tzinfo=UTC)
        fields = FILES[name]
        url = urlsplit(fields["host"])
        self.path = f"{url.path}?{url.query}" if url.query else url.path
        extra = fields.get("extra", {})
        # Their limits are kept in seconds of the real clock; a test need not wait for those.
        extra = {key: value for key, value in extra.items() if key != "max_rate"}
        extra["verify"] = str(receiver.write_authority(folder / "ca.pem"))
        self.destination = Destination.parse(
            integration=name, host=receiver.url + self.path, extra=extra
        )
        self.log = DeliveryLog(f"sqlite:///{folder}/log.db")
        self.log.upgrade()

    def run(self, run, leads=LEADS):
        report = self._dispatch(run, map(read_lead, leads))
        while report.due_at:
            self.now = max(self.now, report.due_at)
            report = self._dispatch(run, ())
        return report

    def _dispatch(self, run, leads):
        return Dispatcher(
            log=self.log,
            destination=self.destination,
            guard=Guard.parse("127.0.0.0/8, ::1/128"),
            policy=Policy(schedule=Schedule.parse((60, 300, 900, 1800))),
            clock=lambda: self.now,
        ).dispatch(RunKey("d", "t", run), 0, list(leads))


@pytest.fixture
def stage(request, tmp_path):
    with Receiver() as receiver:
        stage = Stage(request.param, receiver, tmp_path)
        yield stage
        stage.log.close()


every = pytest.mark.parametrize("stage", SERVICES, indirect=True)


@every
def test_a_run_of_leads_is_taken(stage):
    """Each lead that passes the filters arrives once, in the format, after a bad start."""
    service, taken = stage.service, []
    validator = Draft202012Validator(service.body)

    def answer(request):
        assert request.path == stage.path
        assert {name: request.headers.get(name) for name in service.headers} == service.headers
        problems = [error.message for error in validator.iter_errors(json.loads(request.body))]
        if problems:
            return Reply(400, body="; ".join(problems).encode())
        if request.before == 0 and service.limited:
            return Reply(429, headers={"Retry-After": "2"})
        if request.before == int(service.limited):
            return Reply(503)
        taken.append(request.webhook_id)
        return Reply(service.status, body=service.answer)

    stage.receiver.answer = answer
    report = stage.run("first")
    wanted = [lead for lead in LEADS if "email" in lead or not stage.destination.filters.fields]
    assert report.counts.pop(Status.DELIVERED) == len(wanted)
    assert set(report.counts) <= {Status.FILTERED}
    assert len(taken) == len(set(taken)) == len(wanted)
    stage.run("again")
    assert len(taken) == len(wanted)


@every
def test_what_a_person_has_to_put_right_is_an_error_at_once(stage):
    """A status that the service documents for a wrong set-up is not tried again (3)."""
    for run, status in enumerate(stage.service.fatal):
        before = len(stage.receiver.received)
        reply = Reply(status, headers={"Location": "https://elsewhere.test/"})
        stage.receiver.answer = lambda _, reply=reply: reply
        report = stage.run(str(run), [LEADS[0] | {"id": f"x{run}"}])
        assert report.counts == {Status.ERROR: 1}
        assert len(stage.receiver.received) == before + 1


@pytest.mark.parametrize("name", SERVICES)
def test_the_test_lead_has_the_format(name):
    """What the Test button sends is something that the service takes (1.6)."""
    document = payload.sample("test-1", datetime.now(UTC))
    fields = FILES[name]
    destination = Destination.parse(
        integration=name, host=fields["host"], extra=fields.get("extra")
    )
    body = destination.body.render(document) if destination.body else document
    Draft202012Validator(SERVICES[name].body).validate(json.loads(payload.encode(body)))


def test_a_card_stays_under_its_limit(tmp_path):
    """A lead with the longest texts is a Teams message of under 28 KB (formats' source)."""
    destination = Destination.parse(
        integration="t", host=FILES["teams"]["host"], extra=FILES["teams"]["extra"]
    )
    document = payload.document(read_lead(LEADS[-1]))
    assert len(payload.encode(destination.body.render(document))) < 28 * 1024


def test_each_guide_has_its_file_and_names_its_sources():
    """Pages, files and published formats belong together, and the index has all of them."""
    pages = {file.stem for file in FOLDER.glob("*.md")} - {"README"}
    assert pages == {file.stem for file in FOLDER.glob("*.yaml")}
    assert FILES.keys() == SERVICES.keys()
    index = (FOLDER / "README.md").read_text()
    for page in pages:
        text = (FOLDER / f"{page}.md").read_text()
        assert f"]({page}.md)" in index
        assert f"]({page}.yaml)" in text
        (name,) = yaml.safe_load((FOLDER / f"{page}.yaml").read_text())
        for source in SERVICES[name].sources:
            assert source in text or source == "docs/receiver/README.md"


@pytest.mark.parametrize(
    ("name", "hidden"), [("teams", "](https://evil"), ("slack", "<https://evil")]
)
def test_nobodys_name_hides_a_link(name, hidden):
    """What a lead calls itself is no mark-up where people read it (2.7)."""
    lead = {"id": 1, "name": "[Log in](https://evil.test) <https://evil.test|Log in>"}
    body = Destination.parse(
        integration=name, host=FILES[name]["host"], extra=FILES[name]["extra"]
    ).body
    sent = payload.encode(body.render(payload.document(read_lead(lead)))).decode()
    assert "evil.test" in sent
    assert hidden not in sent
