"""Every command of the docs, typed as it is written, in a new Airflow (Contract 8.5)."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import yaml

from tests.support.commands import EXAMPLES, ROOT, commands

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.timeout(300)  # a new Airflow, and some forty commands

DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
FILES = [*(ROOT / "dags").glob("*.connections.yaml"), *(ROOT / "docs/destinations").glob("*.yaml")]
# One process for all of them: each would spend seconds on importing Airflow.
TYPE_ALL = """
import json, shlex, sys
from airflow.utils.db import initdb
initdb()
from airflow.cli.cli_parser import get_parser
codes = {}
for line in json.load(sys.stdin):
    sys.argv = shlex.split(line)
    try:
        typed = get_parser().parse_args(sys.argv[1:])
        typed.func(typed)
        codes[line] = 0
    except SystemExit as ended:
        codes[line] = ended.code
from airflow.models.log import Log
from airflow.models.dag import DagModel
from airflow.utils.session import create_session
with create_session() as session:
    audit = [f"{row.event} {row.extra}" for row in session.query(Log)]
    paused = {row.dag_id: row.is_paused for row in session.query(DagModel)}
print(json.dumps({"codes": codes, "audit": audit, "paused": paused}), file=sys.stderr)
"""


@dataclass
class Typed:
    """What came of typing."""

    codes: dict[str, int]
    audit: list[str]
    paused: dict[str, bool]
    out: str


def airflow_commands() -> list[str]:
    """Return the documented commands of Airflow, each once."""
    lines = [line for document in DOCUMENTS for line in commands(document.read_text())]
    # They are typed without a terminal, and the leads' database is not there.
    typed = list(dict.fromkeys(line for line in lines if line.startswith("airflow ")))
    # Those of another auth manager are typed where its test runs (tests/browser/test_fab.py).
    typed = [line for line in typed if not line.startswith("airflow roles ")]
    for file in sorted((ROOT / "docs/destinations").glob("*.yaml")):
        (name,) = yaml.safe_load(file.read_text())
        # The examples have integrations of the same names.
        typed.append(f"airflow connections import --overwrite {file.name}")
        typed.append(f"airflow zbl integrations show {name}")
    return typed


def yaml_blocks(document: Path) -> list[str]:
    """Return the YAML that a document shows."""
    return re.findall(r"^```yaml\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture(scope="module")
def typed(tmp_path_factory):
    """Type all of them, one after another, in a folder that has what the docs say."""
    home = tmp_path_factory.mktemp("airflow")
    shutil.copytree(ROOT / "dags", home / "dags")
    for file in FILES:
        shutil.copy(file, home)
    (block,) = yaml_blocks(ROOT / "docs/connections.md")
    (home / "integrations.yaml").write_text(block)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", TYPE_ALL],
        input=json.dumps(airflow_commands()),
        env=os.environ
        | {"AIRFLOW_HOME": str(home), "AIRFLOW__CORE__DAGS_FOLDER": str(home / "dags")},
        cwd=home,
        capture_output=True,
        text=True,
        check=True,
        timeout=280,
    )
    result = json.loads(done.stderr.strip().splitlines()[-1])
    return Typed(**result, out=done.stdout)


def test_each_command_does_what_it_is_for(typed):
    """Nothing that the docs tell people to type fails, or is refused."""
    assert {line: code for line, code in typed.codes.items() if code} == {}
    failed = re.findall(r"Could not import connection (\w+)", typed.out)
    assert set(failed) == {"zbl_leads"}  # each example's file has it


def test_a_dag_that_was_just_copied_is_unpaused(typed):
    """`dags unpause` finds each example right after it was copied, as documented (8.5)."""
    assert typed.paused == {dag.stem: False for dag in EXAMPLES}


def test_no_secret_is_in_the_audit_log(typed):
    """What people type leaves no secret where a viewer can read it (Contract 1.5)."""
    audit = "\n".join(typed.audit)
    assert "connections" in audit
    for file in FILES:
        for secret in _secrets(yaml.safe_load(file.read_text())):
            assert secret not in audit
    assert "://" not in audit
    assert not re.search(r"--conn-|Bearer|change-me", audit)


def _secrets(connections):
    for fields in connections.values():
        yield fields["host"]
        yield from fields.get("extra", {}).get("secret_headers", {}).values()


def test_no_document_puts_a_secret_on_a_command_line():
    """Neither docs nor examples show how to give a connection as an argument (1.5)."""
    texts = [(file, file.read_text()) for file in (*DOCUMENTS, *EXAMPLES, ROOT / "README.md")]
    assert [
        file.name
        for file, text in texts
        if re.search(r"^\s*(--conn-|airflow connections add)", text, re.MULTILINE)
    ] == []
