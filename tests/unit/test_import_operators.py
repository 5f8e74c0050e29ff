"""What a Dag file pays for what it imports."""

import subprocess
import sys

import pytest

HEAVY = {"pyreqwest", "sqlalchemy", "alembic", "jsonschema_rs", "orjson", "requests", "aiohttp"}
PROGRAM = """
import sys
import airflow.sdk
before = set(sys.modules)
import {module}
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}))
"""


@pytest.mark.parametrize("module", ["operators.dispatch", "notifications.webhook"])
def test_parsing_a_dag_loads_nothing_heavy(module):
    """The module adds only the provider's own light modules to `airflow.sdk`."""
    program = PROGRAM.format(module=f"zbl_provider.{module}")
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    added = set(output.split())
    assert "zbl_provider" in added
    assert not added & HEAVY
