"""
Counts how code is cut into functions: `python tools/functions.py [FOLDER ...]`.

Beside the package it counts those that are named, such as the installed packages of the projects
that this one learns from::

    pip install --target /tmp/models stamina svcs procrastinate dramatiq httpcore urllib3
    python tools/functions.py zbl_provider /tmp/models/*/

Overloads, tests and abstract stubs are not counted. A function is private when its name begins with
one underscore. It is called once when its name is used once in the whole package, whoever uses it.
Lines are those from `def` to the end, without the docstring.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path
from statistics import median, quantiles
from typing import NamedTuple, TypeAlias

Function: TypeAlias = ast.FunctionDef | ast.AsyncFunctionDef

GOALS = {"private": 30.0, "called once": 15.0, "median": 10.0, "95 %": 30.0}


class Cut(NamedTuple):
    """How one package is cut; shares are in percent of all functions, sizes in lines."""

    functions: int
    private: float
    called_once: float
    median: float
    largest_but_few: float
    longest: int


def count(folder: Path) -> Cut | None:
    """Return how the Python files under a folder are cut; None without functions."""
    trees = [ast.parse(path.read_text()) for path in files(folder)]
    nodes = [node for tree in trees for node in ast.walk(tree)]
    functions = [node for node in nodes if isinstance(node, Function) and not is_stub(node)]
    if len(functions) < 2:
        return None
    uses = Counter(
        node.id if isinstance(node, ast.Name) else node.attr
        for node in nodes
        if isinstance(node, ast.Name | ast.Attribute)
    )
    names = [node.name for node in functions]
    private = [name for name in names if name.startswith("_") and not name.startswith("__")]
    sizes = [size(node) for node in functions]
    return Cut(
        functions=len(functions),
        private=100 * len(private) / len(functions),
        called_once=100 * sum(uses[name] == 1 for name in private) / len(functions),
        median=median(sizes),
        largest_but_few=quantiles(sizes, n=20)[-1],
        longest=max(sizes),
    )


def files(folder: Path) -> list[Path]:
    """Return the Python files under a folder, but for tests."""
    return [path for path in folder.rglob("*.py") if "tests" not in path.parts]


def is_stub(function: Function) -> bool:
    """Tell whether it only announces another one: an overload, or a body of three dots."""
    if any("overload" in ast.unparse(decorator) for decorator in function.decorator_list):
        return True
    last = function.body[-1]
    return isinstance(last, ast.Expr) and getattr(last.value, "value", None) is ...


def size(function: Function) -> int:
    """Return how many lines it has from `def` on, without its docstring."""
    lines = (function.end_lineno or 0) - function.lineno + 1
    first = function.body[0]
    if ast.get_docstring(function, clean=False) is None:
        return lines
    return lines - ((first.end_lineno or 0) - first.lineno + 1)


def main() -> None:
    """Print a line for each folder."""
    folders = [Path(name) for name in sys.argv[1:]] or [Path("zbl_provider")]
    print(
        f"{'':28}{'functions':>10}{'private':>9}{'once':>8}{'median':>8}{'95 %':>7}{'longest':>9}"
    )
    for folder in folders:
        if cut := count(folder):
            print(
                f"{folder.name:28}{cut.functions:>10}{cut.private:>8.1f}%{cut.called_once:>7.1f}%"
                f"{cut.median:>8g}{cut.largest_but_few:>7.0f}{cut.longest:>9}"
            )
    private, once, middle, nearly_all = GOALS.values()
    print(f"{'goal':28}{'':10}{private:>8.1f}%{once:>7.1f}%{middle:>8g}{nearly_all:>7.0f}")


if __name__ == "__main__":
    main()
