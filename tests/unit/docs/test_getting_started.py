"""The guide for newcomers names what there is; `make newcomer` follows it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support.guide import Command, File, steps
from zbl_provider import __version__

ROOT = Path(__file__).parents[3]
GUIDE = (ROOT / "docs/getting-started.md").read_text()


def test_its_versions_are_those_of_the_package_and_of_the_tests():
    """Who copies the command that installs gets what the guide was tried with."""
    constraints = (ROOT / "constraints.txt").read_text()
    [pinned] = re.findall(r"^apache-airflow==(\S+)", constraints, re.MULTILINE)
    assert set(re.findall(r"airflow_provider_zbl-(\S+?)-py3", GUIDE)) == {__version__}
    assert set(re.findall(r"(?:apache-airflow==|/constraints-)([\d.]+\d)/?", GUIDE)) == {pinned}


def test_its_steps_are_read_as_a_newcomer_reads_them():
    """A block is a file under the last name before it, or commands with what they print."""
    saved = "Save `a.py` as\n`b/c.sh`:\n\n```sh\nx=1\n```\n"
    typed = "\n```console\n$ say \\\n    it\nit … said\n$ go\n```\n"
    first, second, third = steps(saved + typed)
    assert first == File("b/c.sh", "x=1\n")
    assert (second, third) == (Command("say it", ("it … said",)), Command("go"))
    assert second.missing("so it   is\nsaid") == []
    assert second.missing("it was") == ["it … said"]


def test_all_of_its_files_have_a_name():
    """Nothing is to be saved that the guide does not say where."""
    names = [step.name for step in steps(GUIDE) if isinstance(step, File)]
    assert names == [
        "settings.sh",
        "leads.py",
        "receiver.py",
        "airflow/dags/first_leads.py",
        "integrations.yaml",
    ]
