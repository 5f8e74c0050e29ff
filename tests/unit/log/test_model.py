"""The light types of the delivery log."""

from __future__ import annotations

import subprocess
import sys

import pytest

from zbl_provider.log.model import Candidate, Claimed, Status


def loaded_by(module):
    """Return the top-level modules that importing this one loads."""
    code = f"import sys, {module}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["zbl_provider.log.model", "zbl_provider.log.outbox.decision"])
def test_the_light_modules_load_no_library(module):
    """A DAG file may import the log's types without loading a database library."""
    assert not loaded_by(module) & {"sqlalchemy", "alembic", "airflow", "cryptography"}


def test_the_log_needs_no_airflow():
    """The log stands on its own; Airflow's side of it is in the hooks."""
    loaded = loaded_by("zbl_provider.log.store")
    assert "sqlalchemy" in loaded
    assert not loaded & {"airflow", "alembic"}


def test_a_body_is_not_shown():
    """Personal data appears in no log line, even by accident (Contract 1.5, 4.3)."""
    candidate = Candidate("msg_1", "1", Status.PENDING, None, b"john@company.com", "f1")
    claimed = Claimed(1, "msg_1", "1", b"john@company.com", 1, None, "token")
    assert "john" not in repr((candidate, claimed))
