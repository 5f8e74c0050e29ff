"""Which databases the log may be in."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from sqlalchemy.exc import OperationalError

from zbl_provider.exceptions import DeliveryLogError
from zbl_provider.log.storage.engine import open_engine
from zbl_provider.log.store import DeliveryLog


@pytest.mark.parametrize(
    "url",
    ["postgres://u:p@h/d", "postgresql://u:p@h/d", "postgresql+psycopg2://u:p@h/d"],
)
def test_postgresql_is_spoken_to_by_psycopg(url):
    """However a connection spells PostgreSQL, one driver serves it."""
    assert open_engine(url).url.drivername == "postgresql+psycopg"


@pytest.mark.parametrize("url", ["mysql://u:secret@h/d", "sqlite://", "sqlite:///:memory:"])
def test_other_databases_are_refused(url):
    """Only what the tests run is promised (Contract 6.1)."""
    with pytest.raises(DeliveryLogError, match="delivery_log_conn_id") as refusal:
        DeliveryLog(url)
    assert "secret" not in str(refusal.value)


def test_an_unreadable_url_is_not_shown():
    """A URL may hold a password; a refusal does not show it (Contract 1.5)."""
    with pytest.raises(DeliveryLogError, match="not a database URL") as refusal:
        DeliveryLog("user:secret@host")
    assert "secret" not in str(refusal.value)


def test_a_missing_driver_is_named(monkeypatch):
    """Without psycopg the refusal says what to install."""
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(DeliveryLogError, match=r"\[postgres\]"):
        DeliveryLog("postgresql://h/d")


def test_errors_show_no_parameters(tmp_path):
    """A database error in a task's log shows no lead (Contract 1.5, 6.4)."""
    engine = open_engine(f"sqlite:///{tmp_path / 'log.db'}")
    with engine.connect() as connection, pytest.raises(OperationalError) as error:
        connection.exec_driver_sql("INSERT INTO nowhere VALUES (?)", ("john@company.com",))
    engine.dispose()
    assert "john" not in str(error.value)


def test_a_log_in_a_file_is_its_owners_alone(tmp_path):
    """Whatever the umask, nobody else on the machine reads the file or its journals (6.4)."""
    before = os.umask(0)
    try:
        log = DeliveryLog(f"sqlite:///{tmp_path / 'log.db'}")
        log.upgrade()
        log.hold("zapier", "ana", datetime.now(UTC))
        modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        log.close()
    finally:
        os.umask(before)
    assert modes == dict.fromkeys(("log.db", "log.db-wal", "log.db-shm"), 0o600)


def test_a_further_connection_leaves_the_locks_of_the_others_alone(tmp_path):
    """What this process opens last does not make another process take the log for unused (6.2)."""
    log = DeliveryLog(f"sqlite:///{tmp_path}/log.db")
    log.upgrade()
    with log._engine.connect(), log._engine.connect():
        # The last one to close a log folds its journal away: this one must see that it is not.
        look = "import sqlite3, sys; sqlite3.connect(sys.argv[1]).execute('SELECT 1 FROM zbl_run')"
        subprocess.run([sys.executable, "-c", look, str(tmp_path / "log.db")], check=True)
        assert (tmp_path / "log.db-wal").exists()
    log.close()


def test_a_file_that_takes_the_place_of_the_log_is_the_log(tmp_path):
    """Who had the old one open neither shows nor changes it any more, once a backup is put back.

    What was lost without it: what people did on the page, and what a task recorded (6.2, 7.5).
    """
    url = f"sqlite:///{tmp_path / 'log.db'}"
    page, restored = DeliveryLog(url), None
    try:
        page.upgrade()
        page.hold("zapier", "ana", datetime.now(UTC))
        for file in tmp_path.iterdir():
            file.unlink()
        restored = DeliveryLog(url)
        restored.upgrade()
        assert page.integrations() == []
        page.hold("make", "ana", datetime.now(UTC))
        # What the page closed of the old file has taken nothing from the new one.
        restored.hold("n8n", "ana", datetime.now(UTC))
        for log in (page, restored, DeliveryLog(url)):
            assert {integration.name for integration in log.integrations()} == {"make", "n8n"}
    finally:
        for log in (page, restored):
            if log:
                log.close()
