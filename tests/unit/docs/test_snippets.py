"""The Python that the documents show can be typed as it stands."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from importlib import import_module
from pathlib import Path

import pytest
from airflow.sdk import DAG, Asset, AssetOrTimeSchedule, CronTriggerTimetable

from zbl_provider.get_provider_info import get_provider_info

ROOT = Path(__file__).parents[3]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SNIPPETS = [
    pytest.param(snippet, id=f"{document.stem}-{place}")
    for document in DOCUMENTS
    for place, snippet in enumerate(
        re.findall(r"^```python\n(.*?)^```$", document.read_text(), re.DOTALL | re.MULTILINE), 1
    )
]


@pytest.mark.parametrize("snippet", SNIPPETS)
def test_each_class_takes_what_a_snippet_gives_it(snippet):
    """No parameter is misspelt, or was renamed without its documents."""
    for call in (node for node in ast.walk(ast.parse(snippet)) if isinstance(node, ast.Call)):
        if name := public_class(call.func):
            given = {keyword.arg for keyword in call.keywords if keyword.arg}
            assert given <= parameters(classes()[name]), name


@pytest.mark.parametrize(
    "snippet", [snippet for snippet in SNIPPETS if "DAG(" in snippet.values[0]]
)
def test_a_whole_dag_can_be_built(snippet):
    """Airflow takes it: the imports are there, and what must be given is given."""
    # What a document leaves out with three dots.
    filled = snippet.replace(
        "...,", 'task_id="leads", sql="SELECT 1 AS id", leads_conn_id="crm_db",'
    )
    tree = ast.parse(f"from zbl_provider.operators.dispatch import DispatchLeadsOperator\n{filled}")
    for block in (node for node in ast.walk(tree) if isinstance(node, ast.With)):
        block.items[0].optional_vars = ast.Name("dag", ast.Store())
    built = {}
    exec(compile(ast.fix_missing_locations(tree), "snippet", "exec"), built)
    assert built["dag"].tasks


@pytest.mark.parametrize(
    "snippet",
    [
        snippet
        for snippet in SNIPPETS
        if "DAG(" not in snippet.values[0]
        # The guide's own programs are run by its own test.
        and not snippet.id.startswith("getting-started-")
    ],
)
def test_a_part_of_a_dag_can_be_built(snippet):
    """Within a Dag, and with the imports that it leaves out, Airflow takes it."""
    filled = snippet.replace(
        "...,", 'task_id="leads", sql="SELECT 1 AS id", leads_conn_id="crm_db",'
    ).replace("[...]", '[Asset("leads")]')
    names = {
        "Asset": Asset,
        "AssetOrTimeSchedule": AssetOrTimeSchedule,
        "CronTriggerTimetable": CronTriggerTimetable,
    }
    with DAG("part", schedule=None) as dag:
        exec(filled, names | classes())
    assert dag.tasks or "schedule =" in snippet


def public_class(function: ast.expr) -> str | None:
    """Name the provider's class that is called, or whose `partial` is."""
    if isinstance(function, ast.Attribute) and function.attr == "partial":
        function = function.value
    return function.id if isinstance(function, ast.Name) and function.id in classes() else None


def parameters(kind: type) -> set[str]:
    return {
        name
        for base in kind.__mro__
        if base is not object
        for name in inspect.signature(base.__init__).parameters
    }


@cache
def classes() -> dict[str, type]:
    info = get_provider_info()
    modules = [
        module
        for kind in ("operators", "sensors", "triggers")
        for entry in info[kind]
        for module in entry["python-modules"]
    ]
    paths = [
        *info["notifications"],
        *(hook["hook-class-name"] for hook in info["connection-types"]),
    ]
    classes = [
        getattr(import_module(path.rpartition(".")[0]), path.rpartition(".")[2]) for path in paths
    ]
    for module in modules:
        classes += [
            member for _, member in inspect.getmembers(import_module(module), inspect.isclass)
        ]
    return {kind.__name__: kind for kind in classes if kind.__module__.startswith("zbl_provider.")}
