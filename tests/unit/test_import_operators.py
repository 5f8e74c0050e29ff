"""What a Dag file pays for what it imports."""

import subprocess
import sys

import pytest

from tests.commands import EXAMPLES

HEAVY = {"httptools", "sqlalchemy", "alembic", "jsonschema_rs", "orjson", "requests", "aiohttp"}
HEAVY |= {"openlineage"}
PROGRAM = """
import sys
import airflow.sdk
before = set(sys.modules)
import {module}
print(*sorted({{name.partition(".")[0] for name in set(sys.modules) - before}}))
"""


@pytest.mark.parametrize(
    "module",
    [
        "notifications.webhook",
        "operators.dispatch",
        "sensors.delivery",
        "sensors.leads",
        "triggers.delivery",
        "triggers.leads",
    ],
)
def test_parsing_a_dag_loads_nothing_heavy(module):
    """The module adds only the provider's own light modules to `airflow.sdk`."""
    program = PROGRAM.format(module=f"zbl_provider.{module}")
    output = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    ).stdout
    added = set(output.split())
    assert "zbl_provider" in added
    assert not added & HEAVY


EXAMPLE = """
import runpy, sys
import airflow.sdk
before = set(sys.modules)
runpy.run_path({path!r})
print(*sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_parsing_an_example_loads_little(path):
    """Airflow parses a Dag's file every half a minute (Contract 8.5)."""
    output = subprocess.run(
        [sys.executable, "-c", EXAMPLE.format(path=str(path))],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    added = output.split()
    assert not {name.partition(".")[0] for name in added} & HEAVY
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
