"""What is in the package that people install."""

import ast
import re
import subprocess
import sys
import tarfile
import tomllib
from email import message_from_string
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parents[2]
STATIC = ROOT / "zbl_provider/plugin/static"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    folder = tmp_path_factory.mktemp("built")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-t", "sdist"]
    subprocess.run([*command, "-d", str(folder)], cwd=ROOT, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def wheel(built):
    (path,) = built.glob("*.whl")
    return ZipFile(path)


def test_the_wheel_has_what_is_not_python_too(wheel):
    """The page's files, the payload's schema and the migrations are installed (8.4, 5.5, 6.1)."""
    names = set(wheel.namelist())
    assert {f"zbl_provider/plugin/static/{path.name}" for path in STATIC.iterdir()} <= names
    assert "zbl_provider/plugin/static/index.html" in names
    assert "zbl_provider/leads/lead_qualified.schema.json" in names
    assert "zbl_provider/log/storage/migrations/versions/v0001_delivery_log.py" in names
    assert not [name for name in names if name.startswith(("tests", "demo", "benchmarks"))]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="no repository to compare with")
def test_the_sdist_has_the_whole_repository(built):
    """Whoever packages it for a system runs the same tests, and builds the same docs."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        packed = {name.partition("/")[2] for name in archive.getnames()}
    present = {name for name in listed.stdout.splitlines() if (ROOT / name).exists()}
    assert present - packed == set()


def test_the_project_has_one_address(metadata):
    """All that leads to the repository begins with the home page of pyproject.toml."""
    home = re.search(r"Homepage, (\S+)", "\n".join(metadata.get_all("Project-URL")))[1]
    owner = re.escape(home.split("/")[3])
    places = [ROOT / "pyproject.toml", *(ROOT / ".github").rglob("*.yml")]
    text = "\n".join(path.read_text() for path in places)
    links = re.findall(rf"https://[\w.]+/({owner}/[^/\s\"'\\]+)", text)
    assert len(links) > 5
    assert {f"https://github.com/{name}" for name in links} == {home}


def test_airflow_finds_the_provider_and_the_page_by_their_entry_points(wheel):
    """Nothing need be set up after the installation (Contract 8.4)."""
    (name,) = [path for path in wheel.namelist() if path.endswith("entry_points.txt")]
    text = wheel.read(name).decode()
    assert "zbl_provider.get_provider_info:get_provider_info" in text
    assert "zbl_provider.plugin.lead_deliveries:LeadDeliveriesPlugin" in text


@pytest.fixture(scope="module")
def metadata(wheel):
    (name,) = [path for path in wheel.namelist() if path.endswith("dist-info/METADATA")]
    return message_from_string(wheel.read(name).decode())


def test_the_wheel_says_that_it_is_typed(wheel):
    """A type checker reads the package's own types only where this file is (PEP 561)."""
    assert "zbl_provider/py.typed" in wheel.namelist()


def test_no_link_of_the_readme_leads_beside_it(metadata):
    """On an index's page there is nothing beside the readme."""
    links = re.findall(r"\]\(([^)]+)\)", metadata.get_payload())
    assert len(links) > 20
    assert [link for link in links if not link.startswith(("https://", "#"))] == []


def test_all_that_is_imported_is_declared(metadata):
    """Nothing is there by the grace of another package's requirements."""
    declared = {
        re.split(r"[^A-Za-z0-9_.-]", name)[0].lower().replace("-", "_")
        for name in metadata.get_all("Requires-Dist")
    }
    # OpenLineage's provider calls that module, and brings the package with it.
    packages = packages_distributions()
    used = {name for name in _imports() if name not in sys.stdlib_module_names}
    missing = {
        name
        for name in used - {"zbl_provider", "openlineage", "airflow"}
        if not {provided.lower().replace("-", "_") for provided in packages[name]} & declared
    }
    assert missing == set()


def _imports():
    for path in (ROOT / "zbl_provider").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from (alias.name.partition(".")[0] for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module:
                yield node.module.partition(".")[0]


def test_an_index_would_take_it(wheel):
    """The readme can be drawn, and nothing is in the wheel that does not belong there."""
    for command in ("twine", "check"), ("check_wheel_contents",):
        subprocess.run([sys.executable, "-m", *command, wheel.filename], check=True)


def test_the_classifiers_name_the_pythons_that_it_takes():
    """What the metadata promise is what the version matrix runs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    named = re.findall(r"Python :: (3\.\d+)", "\n".join(project["classifiers"]))
    assert project["requires-python"] == f">={named[0]}"
    matrix = (ROOT / "noxfile.py").read_text()
    assert set(named) == set(re.findall(r'"(3\.\d+)"', matrix))
