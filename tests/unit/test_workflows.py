"""What machines read and run of this repository, here and where it is published."""

from __future__ import annotations

import importlib.util
import json
import re
import shlex
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_each_step_is_an_action_or_a_command_that_there_is(workflow):
    """A target or a script that was renamed is renamed here, too."""
    jobs = yaml.safe_load(workflow.read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    assert all(("uses" in step) != ("run" in step) for step in steps)
    for command in filter(None, (step.get("run") for step in steps)):
        for name in re.findall(r"^make (\S+)", command):
            assert name in targets()
        for path in re.findall(r"(?:^|python )([.\w]+/\S+)", command):
            assert (ROOT / path).exists()


@pytest.mark.parametrize(
    ("schema", "files"),
    [
        ("github-workflows", ".github/workflows/*.yml"),
        ("github-issue-forms", ".github/ISSUE_TEMPLATE/[!c]*.yml"),
        ("github-issue-config", ".github/ISSUE_TEMPLATE/config.yml"),
        ("dependabot", ".github/dependabot.yml"),
        ("compose-spec", "docs/install/docker-compose.override.yaml"),
    ],
)
def test_who_reads_a_file_takes_it(schema, files):
    """A form that GitHub cannot read is not offered, and nobody is told."""
    paths = sorted(ROOT.glob(files))
    assert paths
    check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", f"vendor.{schema}"]
    subprocess.run([*check, *paths], check=True)


def test_no_workflow_lets_strangers_in():
    """Permissions are the least, credentials are not kept, and no event writes a command."""
    zizmor = Path(sys.executable).with_name("zizmor")
    subprocess.run([zizmor, "--offline", "--quiet", ROOT / ".github"], check=True)


def test_the_job_in_a_container_has_the_time_of_all_its_steps():
    """What hangs is ended by its own step's time, which says what it was, and not by the job's."""
    minutes = re.findall(
        r"timeout --kill-after=1m (\d+)m make (\S+)", (ROOT / ".ci/run").read_text()
    )
    longest = {target: int(time) + 1 for time, target in minutes}
    job = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["all"]
    assert sum(longest.values()) < job["timeout-minutes"]


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_each_action_is_one_commit_for_ever(workflow):
    """A tag can be moved to somebody else's code, and one of these jobs may publish."""
    uses = re.findall(r"uses: (.+)", workflow.read_text())
    assert uses
    assert not [use for use in uses if not re.fullmatch(r"\S+@[0-9a-f]{40} # v[\d.]+", use)]


def test_the_workflow_tries_each_session_on_each_of_its_pythons():
    """What docs/versions.md names is run on every change, and a Python that is missing is red."""
    job = yaml.safe_load((ROOT / ".github/workflows/test.yml").read_text())["jobs"]["versions"]
    matrix = job["strategy"]["matrix"]
    left_out = {(session["session"], session["python"]) for session in matrix["exclude"]}
    tried = {(name, python) for name in matrix["session"] for python in matrix["python"]}
    there = {(session["name"], session["python"]) for session in sessions()}
    assert tried - left_out == there
    assert "--error-on-missing-interpreters" in job["steps"][-1]["run"]


def test_the_part_of_the_day_is_one_that_there_is():
    """Each day of the year has its part, and it ends by itself (`.ci/run`)."""
    text = (ROOT / ".ci/run").read_text()
    parts = re.findall(r"^  (\d)\) timeout --kill-after=1m 4m (.*) ;;$", text, re.MULTILINE)
    assert [int(day) for day, _ in parts] == list(range(len(parts)))
    assert f"% {len(parts)}))" in text
    for _, command in parts:
        _, target, *options = shlex.split(command)
        assert target in targets()
        for name in (option[5:] for option in options if option.startswith("WHAT=")):
            assert name in {session["session"] for session in sessions()}


def test_what_looks_at_the_repository_is_left_out_where_only_the_wheel_is():
    """The version matrix runs the unit tests where it has copied some folders, and no more."""
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    noxfile = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(noxfile)
    looking = {
        path.relative_to(ROOT)
        for path in (ROOT / "tests/unit").rglob("test_*.py")
        for name in re.findall(r'ROOT / "([^"/]+)', path.read_text())
        if name not in noxfile._COPIED
    }
    left_out = noxfile._OF_THE_REPOSITORY
    assert looking
    assert not [path for path in looking if not any(map(path.is_relative_to, left_out))]


@cache
def targets() -> frozenset[str]:
    return frozenset(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


@cache
def sessions() -> list[dict[str, str]]:
    listed = subprocess.run(
        [sys.executable, "-m", "nox", "--list", "--json"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(listed.stdout)
