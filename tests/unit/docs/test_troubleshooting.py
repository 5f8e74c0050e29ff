"""Who looks a message up finds it in the words in which the package says it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "troubleshooting.md"
_ROW = re.compile(r"^\| `+(.+?) ?`+ [|(]", re.MULTILINE)
_FORMATTED = re.compile(r"%(?:\.\d)?[sdf]")


def quoted() -> list[str]:
    return _ROW.findall(PAGE.read_text())


@pytest.mark.parametrize("message", quoted())
def test_each_quoted_message_is_one_of_the_packages(message):
    """A message that was put in other words in the code is put in other words in the guide."""
    assert is_said(message)


def test_a_message_that_nothing_says_is_found():
    """Words of the guide's own making are told from the package's."""
    assert len(quoted()) > 40
    assert not is_said("the moon is not … in the right place")


def is_said(message: str) -> bool:
    """Tell whether one text of the package holds the message's words in their order."""
    words = ".*".join(re.escape(part.strip()) for part in message.split("…") if part.strip())
    return any(re.search(words, text, re.DOTALL) for text in said())


@cache
def said() -> tuple[str, ...]:
    """Return all texts of the package but docstrings, with "…" for what is put into them."""
    paths = sorted((ROOT / "zbl_provider").rglob("*.py"))
    nodes = [node for path in paths for node in ast.walk(ast.parse(path.read_text()))]
    docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
    return tuple(text for node in nodes if node not in docstrings and (text := _text(node)))


def _text(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return _FORMATTED.sub("…", text)
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)
    return None
