"""`airflow zbl check` on a real log: what is wrong is found, with its remedy (Contract 8.9)."""

from __future__ import annotations

import json
from argparse import Namespace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.fernet import Fernet

from tests.integration.log.setup import ZAPIER, Setup, lead
from tests.support.databases import log_url, postgres
from zbl_provider.cli import shell
from zbl_provider.cli.check import check, findings
from zbl_provider.exceptions import DeliveryLogError
from zbl_provider.log.store import DeliveryLog

__all__ = ["log_url", "postgres"]

KEY = Fernet(Fernet.generate_key())
CONNECTION = {"conn_type": "zbl_webhook", "host": "https://hooks.example.com/secret"}


@pytest.fixture
def setup(log_url, monkeypatch):
    """Give a log with a key, one lead and a connection for it: nothing is wrong with it."""
    log = DeliveryLog(log_url, cipher=KEY)
    setup = Setup(log)
    setup.enrol(setup.run(), lead("a"))
    monkeypatch.setattr(shell, "the_log", lambda: log)
    monkeypatch.setenv(f"AIRFLOW_CONN_{ZAPIER.upper()}", json.dumps(CONNECTION))
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    monkeypatch.setenv("AIRFLOW__CORE__TEST_CONNECTION", "Enabled")
    monkeypatch.setenv("AIRFLOW__API__BASE_URL", "https://airflow.example.com")
    yield setup
    log.close()


def by_part() -> dict[str, object]:
    return {finding.part: finding for finding in findings()}


def test_a_set_up_without_a_fault_has_no_finding(setup, capsys):
    """Each part is looked at, one line each, and nothing secret is in it (8.9, 1.5)."""
    assert {finding.level for finding in by_part().values()} == {"ok"}
    check(Namespace(output="text", verbose=False))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == len(by_part()) == 8
    assert all(line.startswith("ok: ") for line in lines)
    assert "secret" not in str(lines)


def test_findings_are_a_json_document(setup, capsys):
    """Scripts read the same findings as JSON (Contract 8.9)."""
    check(Namespace(output="json", verbose=False))
    parts = {finding["part"]: finding["level"] for finding in json.loads(capsys.readouterr().out)}
    assert parts[f"integration {ZAPIER}"] == "ok"


def test_a_log_of_its_own_is_well_in_a_pod_too(setup, monkeypatch):
    """A database is not on the disk of whoever asks (Contract 6.1)."""
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
    monkeypatch.setenv("AIRFLOW__ZBL__DELIVERY_LOG_CONN_ID", "zbl_log")
    assert by_part()["delivery log"].level == "ok"


@pytest.mark.parametrize(
    ("setting", "value", "part", "level", "said"),
    [
        ("AIRFLOW__ZBL__ALLOWED_NETWORKS", "10.0.0.0/33", "networks", "error", "allowed_networks"),
        ("AIRFLOW__ZBL__ALLOWED_NETWORKS", "0.0.0.0/0", "networks", "warning", "0.0.0.0/0"),
        ("AIRFLOW__ZBL__LOG_RETENTION_DAYS", "-1", "retention", "error", "log_retention_days"),
        ("KUBERNETES_SERVICE_HOST", "10.0.0.1", "delivery log", "warning", "delivery_log_conn_id"),
        ("AIRFLOW__API__BASE_URL", "", "page", "warning", "base_url"),
        ("AIRFLOW__CORE__TEST_CONNECTION", "Hidden", "permissions", "warning", "test_connection"),
        (f"AIRFLOW_CONN_{ZAPIER.upper()}", '{"conn_type": "zbl_webhook", "host": "http://x"}',
         f"integration {ZAPIER}", "error", "https"),
    ],
)  # fmt: skip
def test_each_setting_that_is_wrong_is_found(setup, monkeypatch, setting, value, part, level, said):
    """What a setting breaks is said, with what to change (Contract 8.9)."""
    monkeypatch.setenv(setting, value)
    finding = by_part()[part]
    assert finding.level == level
    assert said in str(finding)


def test_a_log_that_cannot_serve_is_an_error_and_the_rest_is_looked_at(setup, monkeypatch, capsys):
    """Without its log the check still says what else is wrong, and ends with 1 (8.9)."""

    def fail():
        raise DeliveryLogError(field="log", problem="it is away", remedy="Start it")

    monkeypatch.setattr(shell, "the_log", fail)
    with pytest.raises(SystemExit) as end:
        check(Namespace(output="text", verbose=False))
    assert end.value.code == 1
    said = capsys.readouterr().out
    assert "error: delivery log: " in said
    assert "Start it" in said
    assert "ok: page: " in said


def test_payloads_that_no_key_reads_are_an_error(setup, log_url, monkeypatch):
    """A key that is gone, or a log begun without one, is found before a lead fails (7.6, 8.9)."""
    other = DeliveryLog(log_url, cipher=Fernet(Fernet.generate_key()))
    monkeypatch.setattr(shell, "the_log", lambda: other)
    assert by_part()["keys"].level == "error"
    plain = DeliveryLog(log_url)
    monkeypatch.setattr(shell, "the_log", lambda: plain)
    assert by_part()["keys"].level == "error"
    other.close()
    plain.close()


def test_clocks_that_differ_are_an_error(setup, monkeypatch):
    """Leases are compared by the clocks of many machines (Contract 6.2 and 8.9)."""
    assert abs(setup.log.clock() - datetime.now(UTC)) < timedelta(seconds=5)
    wrong = datetime.now(UTC) - timedelta(minutes=2)
    monkeypatch.setattr(setup.log, "clock", lambda: wrong)
    assert by_part()["clocks"].level == "error"


def test_what_keeps_an_integration_back_is_said(setup):
    """Held by a person: it is named, with the command that ends it (Contract 8.9)."""
    setup.log.hold(ZAPIER, "olga", setup.now)
    finding = by_part()[f"integration {ZAPIER}"]
    assert finding.level == "warning"
    assert "olga" in finding.finding
    assert f"airflow zbl integrations resume {ZAPIER}" in finding.remedy
