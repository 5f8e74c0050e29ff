"""What people do on the page is in Airflow's audit log, and what was sent is shown to few (8.8)."""

import json
import subprocess
from datetime import timedelta

import pytest
from airflow.models.log import Log as AuditLog
from airflow.utils.session import create_session
from sqlalchemy import delete, func, select, update

from tests.integration.plugin.conftest import DAGS, NOW
from zbl_provider.delivery.destination import Destination
from zbl_provider.log.browse.model import Query
from zbl_provider.log.model import Status
from zbl_provider.log.storage import tables
from zbl_provider.plugin.api.curl import command

HEADERS = {"X-Api-Key": "k1-secret", "X-$weird": "k2-secret"}
PATH = "/hooks/catch/hook-secret"


@pytest.fixture
def audited(site):
    """Give a function that returns the rows of the audit log since the test began."""
    with create_session() as session:
        before = session.scalar(select(func.max(AuditLog.id))) or 0

    def rows():
        with create_session() as session:
            entries = session.scalars(
                select(AuditLog).where(AuditLog.id > before, AuditLog.event.like("zbl.%"))
            )
            return [
                (entry.event, entry.owner, entry.dag_id, json.loads(entry.extra))
                for entry in entries
            ]

    yield rows
    with create_session() as session:
        session.execute(delete(AuditLog).where(AuditLog.id > before))


@pytest.fixture
def connected(monkeypatch):
    """Give the integrations a connection each."""
    connection = {
        "conn_type": "zbl_webhook",
        "host": f"https://hooks.example.com{PATH}?token=query-secret",
        "extra": {"secret_headers": HEADERS, "signing_secret": f"whsec_{'A' * 32}"},
    }
    for name in DAGS:
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))


def _first(site, status):
    return site.log.reader.deliveries(Query(status=status), limit=1).rows[0]


def _retrying(site):
    """Have a lead wait for its next attempt."""
    row = _first(site, Status.ERROR)
    with site.log._engine.begin() as connection:
        connection.execute(
            update(tables.delivery)
            .where(tables.delivery.c.id == row.delivery_id)
            .values(status=Status.RETRYING.value, due_at=NOW + timedelta(minutes=10))
        )
    return site.log.reader.delivery(row.delivery_id).row


def test_every_change_is_recorded_with_who_made_it(site, audited, monkeypatch):
    """Hold, resume, resend, send now and test are rows of Airflow's audit log (Contract 8.8)."""
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    ada = site.as_("ada")
    waits, failed = _retrying(site), _first(site, Status.ERROR)
    ada.post("/zbl/api/integrations/crm/hold", json={})
    ada.post("/zbl/api/integrations/crm/resume", json={})
    ada.post("/zbl/api/resend", json={"ids": [failed.delivery_id]})
    ada.post("/zbl/api/resend", json={"filter": {"lead_id": "a-person", "dag_id": "d"}})
    ada.post("/zbl/api/send-now", json={"ids": [waits.delivery_id]})
    ada.post("/zbl/api/integrations/crm/test", json={})
    assert audited() == [
        ("zbl.hold", "ada", None, {"integration": "crm"}),
        ("zbl.resume", "ada", None, {"integration": "crm"}),
        ("zbl.resend", "ada", None, {"ids": [failed.delivery_id]}),
        ("zbl.resend", "ada", None, {"filter": {"dag_id": "d"}}),
        ("zbl.send_now", "ada", None, {"ids": [waits.delivery_id], "after": 0}),
        ("zbl.test", "ada", None, {"integration": "crm"}),
    ]


def test_what_is_refused_is_not_recorded_as_done(site, audited):
    """The audit log has what happened, and no attempt of those who may not (Contract 8.8)."""
    site.as_("vera").post("/zbl/api/integrations/crm/hold", json={})
    site.as_("vera").post("/zbl/api/deliveries/1/payload", json={})
    assert audited() == []


def test_what_cannot_be_recorded_is_not_done(site, monkeypatch):
    """Without its row in the audit log nothing is changed, and nothing shown (Contract 8.8)."""
    from zbl_provider.plugin.api.routes import actions

    def fail(*_args, **_facts):
        raise OSError

    monkeypatch.setattr(actions, "record", fail)
    row = _first(site, Status.ERROR)
    ada = site.as_("ada")
    assert ada.post("/zbl/api/resend", json={"ids": [row.delivery_id]}).status_code == 500
    assert ada.post(f"/zbl/api/deliveries/{row.delivery_id}/payload", json={}).status_code == 500
    assert ada.post("/zbl/api/integrations/crm/hold", json={}).status_code == 500
    assert site.log.reader.delivery(row.delivery_id).row.status is Status.ERROR
    assert not site.log.integration("crm").held


def test_a_payload_is_shown_to_who_may_edit_its_dag_and_the_look_recorded(
    site, audited, connected, only
):
    """What was sent is decrypted on request, and who asked is known (Contract 8.8)."""
    row = _first(site, Status.ERROR)
    path = f"/zbl/api/deliveries/{row.delivery_id}/payload"
    shown = site.as_("uwe").post(path, json={}).json()
    assert shown["payload"] == "{}"
    assert shown["headers"] == list(HEADERS)
    facts = {"lead": row.delivery_id, "integration": row.integration}
    assert audited() == [("zbl.payload", "uwe", row.run.dag_id, facts)]
    assert row.lead_id not in str(audited())
    only("PUT", "another_dag", *(set(DAGS.values()) - {row.run.dag_id}))
    assert site.as_("uwe").post(path, json={}).status_code == 404


def test_no_secret_is_in_what_was_sent(site, connected):
    """Headers are named, and the command has placeholders for what is secret (1.5 and 8.8)."""
    path = f"/zbl/api/deliveries/{_first(site, Status.ERROR).delivery_id}/payload"
    answer = site.as_("ada").post(path, json={})
    assert "https://hooks.example.com$ZBL_PATH" in answer.json()["curl"]
    assert not [text for text in ("secret", "AAAA", "catch") if text in answer.text]


def test_a_payload_that_is_gone_says_so(site, connected):
    """A lead that was kept back, or whose data was cleared, has nothing to show (8.8)."""
    path = f"/zbl/api/deliveries/{_first(site, Status.FILTERED).delivery_id}/payload"
    assert site.as_("ada").post(path, json={}).status_code == 410


def test_without_its_connection_a_payload_is_shown_all_the_same(site):
    """What was sent does not depend on a connection that is gone (Contract 8.8)."""
    path = f"/zbl/api/deliveries/{_first(site, Status.ERROR).delivery_id}/payload"
    answer = site.as_("ada").post(path, json={}).json()
    assert answer == {"payload": "{}", "headers": None, "curl": None}


def test_the_command_is_one_that_a_shell_reads(tmp_path):
    """Whatever a lead or a header is called, the shell passes it on as it is (Contract 8.8)."""
    destination = Destination.parse(
        integration="crm",
        host=f"https://hooks.example.com{PATH}",
        extra={"secret_headers": {"X-It's`$x`": "hidden"}},
    )
    payload = json.dumps({"name": 'O\'Hara $(touch hacked) "quoted" `x` \\ é\n'})
    script = "curl() { printf '%s\\0' \"$@\"; }\n" + command(destination, "msg_1", payload)
    done = subprocess.run(
        ["sh", "-c", script],
        cwd=tmp_path,
        env={"ZBL_PATH": PATH, "ZBL_HEADER_X_IT_S_X_": "v", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        check=True,
        text=True,
    )
    arguments = done.stdout.split("\0")
    assert arguments[3] == f"https://hooks.example.com{PATH}"
    assert "X-It's`$x`: v" in arguments
    assert arguments[-2] == payload
    assert not list(tmp_path.iterdir())


def _run(tmp_path, script: str, **environment: str) -> list[str]:
    """Return what a shell passes to curl, and behind it what curl reads."""
    (tmp_path / "curl").write_text("#!/bin/sh\nprintf '%s\\0' \"$@\"\ncat\n")
    (tmp_path / "curl").chmod(0o755)
    done = subprocess.run(
        ["sh", "-c", script],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=True,
        text=True,
    )
    return done.stdout.split("\0")


def test_the_command_of_a_large_payload_is_one_that_a_shell_runs(tmp_path):
    """Linux takes no argument of 128 KiB: a longer payload goes another way (Contract 8.8)."""
    destination = Destination.parse(integration="crm", host="https://a.example/", extra={})
    for size in (99_000, 1_000_000):
        payload = json.dumps({"name": "O'Hara $x `y` \\ é " + "x" * size}, ensure_ascii=False)
        (tmp_path / "script").write_text(command(destination, "msg_1", payload))
        arguments = _run(tmp_path, f". {tmp_path}/script")
        assert payload in (arguments[-2], arguments[-1])


def test_each_header_of_the_command_has_a_placeholder_of_its_own(tmp_path):
    """Names that differ by a mark alone are two headers, and two variables (Contract 8.8)."""
    destination = Destination.parse(
        integration="crm",
        host="https://a.example/",
        extra={"secret_headers": {"X-A": "1", "X_A": "2"}},
    )
    values = {"ZBL_HEADER_X_A": "one", "ZBL_HEADER_X_A_": "two"}
    arguments = _run(tmp_path, command(destination, "msg_1", "{}"), **values)
    assert {"X-A: one", "X_A: two"} <= set(arguments)


@pytest.mark.parametrize(("setting", "may"), [("Enabled", True), ("Disabled", False)])
def test_the_test_button_is_offered_to_those_who_may(site, monkeypatch, setting, may):
    """Who would be refused a test lead is told before (Contract 1.6)."""
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", setting)
    for name, allowed in (("ada", may), ("vera", False)):
        shown = site.as_(name).get("/zbl/api/integrations").json()
        assert {integration["may_test"] for integration in shown} == {allowed}


def test_what_waits_is_sent_now_and_its_tasks_named(site):
    """Send now makes what waits due at once; attempts already made count (Contract 3.5)."""
    ada = site.as_("ada")
    row = _retrying(site)
    count = ada.get("/zbl/api/waiting?status=error").json()["count"]
    assert count >= 1
    answer = ada.post("/zbl/api/send-now", json={"ids": [row.delivery_id]}).json()
    assert (answer["count"], len(answer["runs"])) == (1, 1)
    after = site.log.reader.delivery(row.delivery_id).row
    assert (after.status, after.attempts) == (row.status, row.attempts)
    assert after.due_at < row.due_at
    everything = ada.post("/zbl/api/send-now", json={"filter": {}}).json()
    assert (everything["count"], everything["after"]) == (count, None)
    assert (answer["kept_back"], answer["inactive"]) == ([], [])


def test_what_is_due_and_kept_back_all_the_same_is_named(site, monkeypatch):
    """Who sends now, or again, is told what stands in the way of which integration (3.5)."""
    ada = site.as_("ada")
    row = _retrying(site)
    connection = {"conn_type": "zbl_webhook", "host": "https://x.org", "extra": {"active": False}}
    monkeypatch.setenv(f"AIRFLOW_CONN_{row.integration.upper()}", json.dumps(connection))
    site.log.hold(row.integration, "ana", NOW)
    failed = site.log.reader.deliveries(Query(status=Status.ERROR, integration=row.integration))
    for route, delivery_id in (
        ("send-now", row.delivery_id),
        ("resend", failed.rows[0].delivery_id),
    ):
        answer = ada.post(f"/zbl/api/{route}", json={"ids": [delivery_id]}).json()
        assert answer["inactive"] == [row.integration]
        (kept_back,) = answer["kept_back"]
        assert (kept_back["name"], kept_back["held_by"]) == (row.integration, "ana")
        assert (kept_back["paused_at"], kept_back["down_since"]) == (None, None)
    site.log.resume(row.integration)
