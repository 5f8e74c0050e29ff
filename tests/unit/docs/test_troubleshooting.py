"""Who looks a message up finds it in the words in which the package says it."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "troubleshooting.md"
_ROW = re.compile(r"^\| `+(.+?) ?`+[ ,][|(`]?", re.MULTILINE)
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


def test_each_warning_and_error_of_a_log_is_there():
    """Who sees one for the first time finds out whether there is something to do."""
    told = {text for tree in trees() for node in ast.walk(tree) if (text := logged(node))}
    assert len(told) > 20
    assert not [text for text in told if not any(holds(text, row) for row in quoted())]


def is_said(message: str) -> bool:
    """Tell whether one text of the package holds the message's words in their order."""
    return any(holds(text, message) for text in said())


def holds(text: str, message: str) -> bool:
    words = ".*".join(re.escape(part.strip()) for part in message.split("…") if part.strip())
    return re.search(words, text, re.DOTALL) is not None


def logged(node: ast.AST) -> str | None:
    """Return what a call logs as a warning or an error, if the call has words of its own."""
    kinds = {"warning", "error", "exception"}
    if isinstance(node, ast.Call) and node.args and getattr(node.func, "attr", "") in kinds:
        text = _text(node.args[0])
        return text if text and re.search(r"\w", text) else None
    return None


@cache
def trees() -> tuple[ast.Module, ...]:
    paths = sorted((ROOT / "zbl_provider").rglob("*.py"))
    return tuple(ast.parse(path.read_text()) for path in paths)


@cache
def said() -> tuple[str, ...]:
    """Return all texts of the package but docstrings, with "…" for what is put into them."""
    nodes = [node for tree in trees() for node in ast.walk(tree)]
    docstrings = {node.value for node in nodes if isinstance(node, ast.Expr)}
    return tuple(text for node in nodes if node not in docstrings and (text := _text(node)))


def _text(node: ast.AST) -> str | None:
    match node:
        case ast.Constant(value=str(text)):
            return _FORMATTED.sub("…", text)
        case ast.JoinedStr(values=parts):
            return "".join(part.value if isinstance(part, ast.Constant) else "…" for part in parts)
    return None
