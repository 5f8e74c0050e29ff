import subprocess
import sys

import pytest

HEAVY = {
    "airflow",
    "aiohttp",
    "httpx",
    "idna",
    "jinja2",
    "jsonschema_rs",
    "httptools",
    "requests",
    "sqlalchemy",
}
LIGHT = ["destination", "exchange", "guard", "outcome", "schedule", "signing"]


def loaded_by(module):
    code = f"import sys, zbl_provider.delivery.{module}; print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in run.stdout.split()}


@pytest.mark.parametrize("module", LIGHT)
def test_what_is_pure_imports_nothing_heavy(module):
    """Destinations, outcomes and schedules import no Airflow and no HTTP client (Contract 1)."""
    assert not loaded_by(module) & HEAVY


def test_the_transport_needs_no_airflow():
    """The one place that sends knows nothing of Airflow (Contract 2)."""
    assert not loaded_by("transport") & (HEAVY - {"httptools"})
