"""The commands that documents tell people to type."""

from __future__ import annotations

import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXAMPLES = sorted((ROOT / "dags").glob("*.py"))


def blocks(markdown: str) -> list[str]:
    """Return the text of each block of shell commands."""
    return re.findall(r"^```sh\n(.*?)^```$", markdown, re.DOTALL | re.MULTILINE)


def commands(markdown: str) -> list[str]:
    """Return the commands one by one, those that go on over several lines as one line."""
    text = "".join(blocks(markdown)).replace("\\\n", "")
    return [" ".join(line.split()) for line in text.splitlines() if line.strip()]


def documentation(dag: Path) -> str:
    """Return what a Dag's file says about itself."""
    return ast.get_docstring(ast.parse(dag.read_text())) or ""
