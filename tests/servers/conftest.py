"""What the tests with real servers share."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from tests.servers.running import Site
from tests.servers.table import Table

TABLE = Table()
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if item.path.parent == HERE:
            item.add_marker(pytest.mark.servers)
            item.add_marker(pytest.mark.timeout(300))


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect what was counted, from all of pytest's processes."""
    if report.when == "call":
        for name, counted in report.user_properties:
            if name == "counted":
                TABLE.add(*counted)


def pytest_sessionfinish() -> None:
    """Draw the table of docs/faults.md, where TABLE=docs/faults.md asks for it."""
    if os.environ.get("TABLE") and TABLE.is_whole:
        TABLE.draw(Path(os.environ["TABLE"]))


@pytest.fixture
def site():
    """Give a server a folder that its own users may look into, unlike pytest's."""
    with tempfile.TemporaryDirectory(prefix="zbl-servers-") as folder:
        yield Site(Path(folder))
