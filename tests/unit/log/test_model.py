"""The light types of the delivery log."""

from __future__ import annotations

import subprocess
import sys

from zbl_provider.log.model import Candidate, Claimed, Status


def test_the_model_imports_light():
    """A DAG file may import the log's types without loading a database library."""
    code = (
        "import sys, zbl_provider.log.model; "
        "heavy = {'sqlalchemy', 'alembic', 'airflow', 'cryptography'} & set(sys.modules); "
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_a_body_is_not_shown():
    """Personal data appears in no log line, even by accident (Contract 1.5, 4.3)."""
    candidate = Candidate("msg_1", "1", Status.PENDING, None, b"john@company.com", "f1")
    claimed = Claimed(1, "msg_1", "1", b"john@company.com", 1, None, "token")
    assert "john" not in repr((candidate, claimed))
