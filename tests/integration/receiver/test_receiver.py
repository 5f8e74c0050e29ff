"""The receiver of docs/receiver, run as it stands, and what may be sent to it (Contract 2.3)."""

from __future__ import annotations

import os
import socket
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime

import pytest
import requests
import trustme
from standardwebhooks import Webhook

from tests.support.commands import ROOT
from zbl_provider.delivery.destination import Destination
from zbl_provider.delivery.guard import Guard
from zbl_provider.delivery.schedule import Schedule
from zbl_provider.delivery.signing import Signer
from zbl_provider.dispatch.dispatcher import Dispatcher, Policy
from zbl_provider.leads.lead import read_lead
from zbl_provider.log.model import RunKey, Status
from zbl_provider.log.store import DeliveryLog

OLD = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
NEW = "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"


class Running:
    """The receiver as a process."""

    def __init__(self, folder):
        self.folder = folder
        self.database = folder / "leads.db"
        authority = trustme.CA()
        self.authority = str(folder / "ca.pem")
        authority.cert_pem.write_to_path(self.authority)
        issued = authority.issue_cert("localhost")
        issued.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            self.port = taken.getsockname()[1]
        self.url = f"https://localhost:{self.port}/leads"
        self.process = None

    def start(self, secrets):
        certificate = str(self.folder / "server.pem")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "uvicorn", "receiver:app", "--port", str(self.port),
             "--ssl-keyfile", certificate, "--ssl-certfile", certificate, "--log-level", "warning"],
            cwd=ROOT / "docs" / "receiver",
            env=os.environ
            | {"SIGNING_SECRET": secrets, "RECEIVER_DATABASE": str(self.database)},
        )  # fmt: skip
        wait_for(self._listens)

    def _listens(self):
        assert self.process.poll() is None
        with closing(socket.socket()) as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def end(self, *, kill=False):
        if self.process:
            self.process.kill() if kill else self.process.terminate()
            self.process.wait(20)

    def rows(self):
        with closing(sqlite3.connect(self.database)) as database:
            return database.execute("SELECT webhook_id, body, done_at FROM delivery").fetchall()

    def post(self, signed, body):
        return requests.post(
            self.url, data=body, headers=signed, verify=self.authority, timeout=10
        ).status_code


def wait_for(holds, seconds=60):
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.fixture
def running(tmp_path):
    running = Running(tmp_path)
    yield running
    running.end()


def sign(secret, webhook_id, body, at=None):
    key = Destination.parse(
        integration="x", host="https://x.test/", extra={"signing_secret": secret}
    ).signing_secrets
    return dict(Signer(key).headers(webhook_id, int(at or time.time()), body))


def dispatcher(log, running, secret):
    extra = {"verify": running.authority, "signing_secret": secret}
    return Dispatcher(
        log=log,
        destination=Destination.parse(integration="api", host=running.url, extra=extra),
        guard=Guard.parse("127.0.0.0/8, ::1/128"),
        policy=Policy(schedule=Schedule.parse(()), resend_delivered=True),
        clock=lambda: datetime.now(UTC),
    )


def test_leads_arrive_once_whatever_is_sent_again(running, tmp_path):
    """A run of leads, then the same again in a new run: one row each, worked on (2.3, 4.4)."""
    running.start(NEW)
    log = DeliveryLog(f"sqlite:///{tmp_path}/log.db")
    log.upgrade()
    leads = [read_lead({"id": lead_id, "name": "Zoë"}) for lead_id in range(20)]
    for run in ("first", "again"):
        report = dispatcher(log, running, NEW).dispatch(RunKey("d", "t", run), 0, leads)
        assert report.counts == {Status.DELIVERED: 20}
    log.close()
    assert len(running.rows()) == 20
    wait_for(lambda: all(done for _, _, done in running.rows()))


def test_the_secret_is_rotated_without_losing_a_lead(running):
    """With both secrets it takes either; with the new one alone the old one is refused (2.3)."""
    running.start(f"{NEW} {OLD}")
    for n, secret in enumerate((OLD, NEW, f"{NEW} {OLD}")):
        assert (
            running.post(sign(secret, f"msg_{n}", b'{"lead": {"id": 1}}'), b'{"lead": {"id": 1}}')
            == 200
        )
    running.end()
    running.start(NEW)
    assert running.post(sign(OLD, "msg_9", b"{}"), b"{}") == 401
    assert (
        running.post(sign(f"{NEW} {OLD}", "msg_8", b'{"lead": {"id": 1}}'), b'{"lead": {"id": 1}}')
        == 200
    )
    assert len(running.rows()) == 4


def test_what_was_recorded_cannot_be_played_back(running):
    """An old timestamp, another body or id, no signature: 401, and nothing is kept (2.3)."""
    running.start(NEW)
    body = b'{"lead": {"id": 1}}'
    good = sign(NEW, "msg_1", body)
    assert running.post(sign(NEW, "msg_1", body, at=time.time() - 301), body) == 401
    assert running.post(good | {"webhook-timestamp": str(int(time.time()) + 1)}, body) == 401
    assert running.post(good | {"webhook-id": "msg_2"}, body) == 401
    assert running.post(good, b"{}") == 401
    assert running.post({}, body) == 401
    for nonsense in ("", "v1", "v1,%%%", "v2,abc", "é"):
        assert running.post(good | {"webhook-signature": nonsense.encode()}, body) == 401
    assert running.post(sign(NEW, "msg_3", b"\xff"), b"\xff") == 401
    assert running.rows() == []
    # The same request once more within five minutes is a duplicate: answered, and not kept twice.
    assert [running.post(good, body), running.post(good, body)] == [200, 200]
    assert len(running.rows()) == 1


def test_a_test_lead_is_answered_and_not_worked_on(running):
    """`X-ZBL-Test` is verified like any other, and kept nowhere (1.6)."""
    running.start(NEW)
    assert running.post(sign(NEW, "msg_1", b"{}") | {"X-ZBL-Test": "true"}, b"{}") == 200
    assert running.post({"X-ZBL-Test": "true"}, b"{}") == 401
    assert running.rows() == []


def test_what_a_killed_receiver_had_answered_is_worked_on(running):
    """What was answered 200 is on the disk, and the next process works on it (2.3)."""
    running.start(NEW)
    broken = b'{"lead": {}}'  # work() fails on it: it stays to be done
    assert running.post(sign(NEW, "msg_1", broken), broken) == 200
    running.end(kill=True)
    with closing(sqlite3.connect(running.database)) as database, database:
        database.execute("UPDATE delivery SET body = ?", (b'{"lead": {"id": 1}}',))
    running.start(NEW)
    wait_for(lambda: running.rows()[0][2])


def test_a_database_that_fails_ends_no_work(running):
    """What was answered 200 is worked on once the database can be written to again (2.3)."""
    running.start(NEW)
    body = b'{"lead": {"id": 1}}'
    with closing(sqlite3.connect(running.database, isolation_level=None)) as database:
        database.execute(
            "CREATE TRIGGER full BEFORE UPDATE ON delivery BEGIN SELECT RAISE(FAIL, 'full'); END"
        )
        assert running.post(sign(NEW, "msg_1", body), body) == 200
        time.sleep(0.5)
        database.execute("DROP TRIGGER full")
    assert running.post(sign(NEW, "msg_2", body), body) == 200
    wait_for(lambda: all(done for _, _, done in running.rows()), seconds=20)


def test_a_signature_of_the_library_is_one_of_ours():
    """What we sign is what Standard Webhooks' own library signs (2.3)."""
    now = datetime.now(UTC)
    expected = Webhook(NEW).sign("msg_1", now, "{}")
    assert sign(NEW, "msg_1", b"{}", at=now.timestamp())["webhook-signature"] == expected
