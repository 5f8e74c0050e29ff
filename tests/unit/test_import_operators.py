"""What a Dag file pays for the operators."""

import subprocess
import sys

HEAVY = {"pyreqwest", "sqlalchemy", "alembic", "jsonschema_rs", "orjson", "requests", "aiohttp"}
PROGRAM = """
import sys
import airflow.sdk
before = set(sys.modules)
import zbl_provider.operators.dispatch
print(*sorted({name.partition(".")[0] for name in set(sys.modules) - before}))
"""


def test_parsing_a_dag_loads_nothing_heavy():
    """The operators' module adds only the provider's own light modules to `airflow.sdk`."""
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM], check=True, capture_output=True, text=True
    ).stdout
    added = set(output.split())
    assert "zbl_provider" in added
    assert not added & HEAVY
