"""What is in the package that people install."""

import subprocess
import sys
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "zbl_provider/plugin/static"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return ZipFile(built)


def test_the_wheel_has_what_is_not_python_too(wheel):
    """The page's files, the payload's schema and the migrations are installed (8.4, 5.5, 6.1)."""
    names = set(wheel.namelist())
    assert {f"zbl_provider/plugin/static/{one.name}" for one in STATIC.iterdir()} <= names
    assert "zbl_provider/plugin/static/index.html" in names
    assert "zbl_provider/leads/lead_qualified.schema.json" in names
    assert "zbl_provider/log/storage/migrations/versions/v0001_delivery_log.py" in names
    assert not [name for name in names if name.startswith(("tests", "demo", "benchmarks"))]


def test_airflow_finds_the_provider_and_the_page_by_their_entry_points(wheel):
    """Nothing need be set up after the installation (Contract 8.4)."""
    (name,) = [one for one in wheel.namelist() if one.endswith("entry_points.txt")]
    text = wheel.read(name).decode()
    assert "zbl_provider.get_provider_info:get_provider_info" in text
    assert "zbl_provider.plugin.lead_deliveries:LeadDeliveriesPlugin" in text
