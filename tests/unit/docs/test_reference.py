"""The API reference has all that the provider names to Airflow, and all of its errors."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest

from zbl_provider import exceptions
from zbl_provider.get_provider_info import get_provider_info

REFERENCE = Path(__file__).parents[3] / "docs" / "reference.md"


@pytest.mark.parametrize("kind", ["operators", "sensors", "triggers", "hooks"])
def test_each_public_class_is_in_the_reference(kind):
    """What a Dag can import from the modules in the provider's metadata is documented."""
    names = {
        name
        for entry in get_provider_info()[kind]
        for module in entry["python-modules"]
        for name in public(module)
    }
    assert names
    assert names <= documented()


def test_each_exception_and_the_notifier_are_in_the_reference():
    """Whoever catches an error can look up when it is raised, and what it carries."""
    names = set(public(exceptions.__name__)) | set(get_provider_info()["notifications"])
    assert names <= documented()


def public(module: str) -> list[str]:
    classes = inspect.getmembers(import_module(module), inspect.isclass)
    return [
        f"{module}.{name}"
        for name, member in classes
        if member.__module__ == module and not name.startswith("_")
    ]


def documented() -> set[str]:
    return set(re.findall(r"^\.\. auto\w+:: (\S+)$", REFERENCE.read_text(), re.MULTILINE))
