"""The domain imports alone: no Airflow, and nothing heavy where a light module is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest

MODULES = ["columns", "filters", "lead", "payload", "schema", "values"]

# Run in a process of its own, where nothing has been imported yet.
WITHOUT = """
import importlib, sys
for name in sys.argv[2].split(","):
    sys.modules[name] = None
importlib.import_module(sys.argv[1])
"""


def _import(module, *blocked):
    command = [sys.executable, "-c", WITHOUT, module, ",".join(blocked)]
    return subprocess.run(command, check=False, capture_output=True, text=True)


@pytest.mark.parametrize("name", MODULES)
def test_leads_import_without_airflow(name):
    """Every module of leads imports where Airflow is not installed (design: the house)."""
    result = _import(f"zbl_provider.leads.{name}", "airflow", "sqlalchemy", "requests")
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("name", ["columns", "filters", "lead", "values"])
def test_light_modules_import_without_libraries(name):
    """What a Dag file may need of leads imports nothing outside the standard library."""
    result = _import(f"zbl_provider.leads.{name}", "airflow", "orjson", "jsonschema_rs")
    assert result.returncode == 0, result.stderr


def test_the_block_blocks():
    """The proof above would notice: a blocked module cannot be imported."""
    assert _import("airflow", "airflow").returncode != 0
    assert _import("zbl_provider.leads.payload", "orjson").returncode != 0
