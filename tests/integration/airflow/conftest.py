"""Airflow's own database, for Dags that are run in this process by `dag.test()`."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.receiver import Receiver

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow.dag_processing.dagbag import DagBag

DAGS = Path(__file__).parents[3] / "dags"


@pytest.fixture(scope="session")
def example_dags() -> DagBag:
    """Give the Dags of `dags/`, known to an Airflow database as `dag.test()` wants them."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.utils.db import initdb

    initdb()
    DagBundlesManager().sync_bundles_to_db()
    bag = DagBag(DAGS)
    assert not bag.import_errors
    sync_bag_to_db(bag, "dags-folder", None)
    return bag


@pytest.fixture
def receiver(tmp_path, monkeypatch) -> Iterator[Receiver]:
    """Give a receiver that the default integration sends to."""
    with Receiver() as receiver:
        _connect(receiver, tmp_path, monkeypatch)
        yield receiver


def _connect(receiver, tmp_path, monkeypatch) -> None:
    authority = str(receiver.write_authority(tmp_path / "ca.pem"))
    connection = {
        "conn_type": "zbl_webhook",
        "host": f"{receiver.url}/hooks/catch/path-is-secret",
        "extra": {"verify": authority, "secret_headers": {"X-Key": "header-is-secret"}},
    }
    monkeypatch.setenv("AIRFLOW_CONN_ZBL_WEBHOOK_DEFAULT", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW__ZBL__ALLOWED_NETWORKS", "127.0.0.0/8, ::1/128")
    monkeypatch.setenv("AIRFLOW_HOME", str(tmp_path))


@pytest.fixture
def leads(tmp_path, monkeypatch):
    """Give a function that fills the example's SQLite database with rows."""
    path = tmp_path / "leads.db"
    monkeypatch.setenv(
        "AIRFLOW_CONN_ZBL_LEADS", json.dumps({"conn_type": "sqlite", "host": str(path)})
    )
    columns = (
        "id, email, name, phone, company, score, status, custom_fields, verifications, "
        "created_at, qualified_at, list_id, list_name"
    )
    with sqlite3.connect(path) as connection:
        connection.execute(f"CREATE TABLE leads ({columns})")

    def insert(*rows: dict) -> None:
        names = columns.split(", ")
        with sqlite3.connect(path) as connection:
            connection.executemany(
                f"INSERT INTO leads VALUES ({', '.join('?' * len(names))})",
                [[row.get(name) for name in names] for row in rows],
            )

    return insert
