"""The versions that the package names, each tried from the wheel: `nox --list`, `make matrix`."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import nox

nox.options.default_venv_backend = "uv"
nox.options.error_on_missing_interpreters = False
nox.options.stop_on_first_error = False

ROOT = Path(__file__).parent
# What Airflow brings with it has moved on since: with newer ones it can run no task.
_WEB = ("cadwyn==6.2.2", "fastapi==0.136.3", "svcs==25.1.0")
_PINS = {"3.2.0": (*_WEB, "starlette==0.52.1"), "3.2.2": _WEB}
_COPIED = ("tests", "dags", "demo", "docs", "pyproject.toml", "CHANGELOG.md", "README.md")
# They look at this repository, which is not there beside an installed package.
_OF_THE_REPOSITORY = (
    "tests/unit/docs",
    "tests/unit/javascript",
    "tests/unit/test_contract.py",
    "tests/unit/test_install.py",
    "tests/unit/test_record_demo.py",
    "tests/unit/test_release.py",
    "tests/unit/test_wheel.py",
    "tests/unit/test_workflows.py",
)
_TESTS = ("tests/unit", "tests/integration/airflow", "tests/integration/dispatch")


def _install(
    session: nox.Session, *requirements: str, extras: str, lowest: bool, pinned: bool
) -> None:
    """Install the wheel, then what tests need and only where the wheel has not said which."""
    limits = ("--constraint", str(ROOT / "constraints.txt")) if pinned else ()
    with tempfile.TemporaryDirectory() as built:
        session.run("uv", "build", "-q", "--wheel", "--out-dir", built, str(ROOT), external=True)
        (wheel,) = Path(built).glob("*.whl")
        resolution = "lowest-direct" if lowest else "highest"
        session.install(f"{wheel}{extras}", *requirements, "--resolution", resolution, *limits)
    project = nox.project.load_toml(ROOT / "pyproject.toml")
    session.install(*nox.project.dependency_groups(project, "test"), *limits)


def _test(session: nox.Session) -> None:
    """Run the tests, and leads through an Airflow, where only the installed package is found."""
    folder = Path(session.create_tmp()) / "copy"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    for name in _COPIED:
        source = ROOT / name
        copy = shutil.copytree if source.is_dir() else shutil.copy
        copy(source, folder / name)
    session.chdir(folder)
    place = {"PYTHONPATH": str(folder)}
    ignored = [f"--ignore={name}" for name in _OF_THE_REPOSITORY]
    many = ("-n", "3", "--dist", "worksteal")
    session.run("pytest", "-q", *many, *ignored, *(session.posargs or _TESTS), env=place)
    if not session.posargs:
        session.run("python", "-m", "demo", "--once", env=place)


def _try(
    session: nox.Session,
    *requirements: str,
    extras: str = "[postgres,sqlite,speed]",
    lowest: bool = False,
    pinned: bool = False,
    without: str = "",
) -> None:
    _install(session, *requirements, extras=extras, lowest=lowest, pinned=pinned)
    if without:
        session.run("uv", "pip", "uninstall", without, external=True)
    _test(session)


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
@nox.parametrize("airflow", ["3.2.0", "3.2.2", "3.3.0"])
def airflow(session: nox.Session, airflow: str) -> None:
    """Try a version of Airflow with the newest of all else that it can live with."""
    _try(session, f"apache-airflow=={airflow}", *_PINS.get(airflow, ()))


@nox.session(python=["3.11", "3.12", "3.13", "3.14"])
def newest(session: nox.Session) -> None:
    """Try the newest of everything, without constraints."""
    _try(session)


@nox.session(python=["3.11", "3.13"])
def lowest(session: nox.Session) -> None:
    """Try the lowest of everything that pyproject.toml names."""
    _try(session, "apache-airflow==3.2.0", *_PINS["3.2.0"], lowest=True)


@nox.session(python="3.11")
@nox.parametrize("package", ["uvloop", "jsonschema-rs"])
def without(session: nox.Session, package: str) -> None:
    """Try it where an accelerator cannot be had."""
    _try(session, without=package, pinned=True)


@nox.session(python="3.11")
def bare(session: nox.Session) -> None:
    """Try it without its extras."""
    _try(session, extras="", pinned=True)
