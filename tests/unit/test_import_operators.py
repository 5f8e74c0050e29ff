"""What a Dag file pays for what it imports."""

import json
import subprocess
import sys

import pytest

from tests.support.commands import EXAMPLES

HEAVY = {"httptools", "sqlalchemy", "alembic", "jsonschema_rs", "orjson", "requests", "aiohttp"}
HEAVY |= {"openlineage"}
MODULES = (
    "notifications.webhook",
    "operators.dispatch",
    "sensors.delivery",
    "sensors.leads",
    "triggers.delivery",
    "triggers.leads",
)
# Importing Airflow takes seconds: it is imported once, and each file in a process forked from that.
PROGRAM = """
import json, os, runpy, sys
import airflow.sdk
before = set(sys.modules)
for name, path in json.loads(sys.argv[1]).items():
    if not os.fork():
        runpy.run_path(path) if path else __import__(name)
        print(json.dumps([name, sorted(set(sys.modules) - before)]), flush=True)
        os._exit(0)
    assert os.wait()[1] == 0
"""


@pytest.fixture(scope="module")
def loaded():
    """Give the modules that each file adds to `airflow.sdk`, by the file's name."""
    files = {f"zbl_provider.{name}": "" for name in MODULES}
    files |= {path.stem: str(path) for path in EXAMPLES}
    output = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(files)],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
    ).stdout
    return dict(json.loads(line) for line in output.splitlines() if line.startswith("["))


def packages(modules):
    """Return the packages that modules are of."""
    return {name.partition(".")[0] for name in modules}


@pytest.mark.parametrize("name", MODULES)
def test_parsing_a_dag_loads_nothing_heavy(loaded, name):
    """The module adds only the provider's own light modules to `airflow.sdk`."""
    added = packages(loaded[f"zbl_provider.{name}"])
    assert "zbl_provider" in added
    assert not added & HEAVY


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_parsing_an_example_loads_little(loaded, path):
    """Airflow parses a Dag's file every half a minute (Contract 8.5)."""
    added = loaded[path.stem]
    assert not packages(added) & HEAVY
    assert len(added) < 80


NOTIFY = """
import asyncio, sys, threading
from zbl_provider.exceptions import ZblError
from zbl_provider.notifications.webhook import WebhookNotifier
loops_thread, imported = threading.get_ident(), set()

def note(event, arguments):
    if event == "import" and threading.get_ident() == loops_thread:
        imported.add(arguments[0].partition(".")[0])

async def notify():
    sys.addaudithook(note)
    try:
        await WebhookNotifier(webhook_conn_id="away", schedule=(), context={"run_id": "1"})
    except ZblError as problem:
        print(problem)
    print(*sorted(imported))

asyncio.run(notify())
"""


def test_an_async_notification_imports_nothing_heavy_in_the_event_loop(monkeypatch):
    """Triggers wait in that loop, for as long as an import takes (Contract 8.3)."""
    monkeypatch.setenv("AIRFLOW_CONN_AWAY", "zbl-webhook://localhost:1/https")
    output = subprocess.run(
        [sys.executable, "-c", NOTIFY], check=True, capture_output=True, text=True
    ).stdout
    said, imported = output.strip().splitlines()[-2:]
    assert "was not delivered to away" in said
    assert not set(imported.split()) & HEAVY
