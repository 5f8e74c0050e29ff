"""Who has nothing but the guide, a wheel and an empty folder gets to the end of the guide."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.error import URLError
from urllib.request import urlopen

import pytest

from tests.support.airflow import free_ports
from tests.support.guide import Command, File, steps

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.newcomer, pytest.mark.timeout(600)]

ROOT = Path(__file__).parents[2]
GUIDE = ROOT / "docs/getting-started.md"
SERVERS = ("python3 receiver.py", "airflow standalone")
PATIENCE = 180.0  # s, for what takes a moment, on a busy machine too


@dataclass
class Folder:
    """The newcomer's folder, and the terminals that are open in it."""

    path: Path
    environment: dict[str, str]
    ui: str

    def save(self, file: File) -> None:
        target = self.path / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(file.text.replace("/home/me/first", str(self.path)))

    def type(self, command: Command) -> None:
        """Type it until it prints what the guide says; once where the guide says nothing."""
        end = time.monotonic() + PATIENCE
        while True:
            done = self._run(command.line)
            assert done.returncode == 0, f"{command.line}\n{done.stdout}"
            if not (missing := command.missing(done.stdout)):
                return
            assert time.monotonic() < end, f"{command.line}\n{missing} is not in\n{done.stdout}"
            time.sleep(1)

    def _run(self, line: str) -> subprocess.CompletedProcess[str]:
        # Whoever types has settings.sh in the terminal from the moment when it is there.
        prefix = ". ./settings.sh; " if (self.path / "settings.sh").exists() else ""
        return subprocess.run(
            ["bash", "-c", prefix + _installed_quickly(line)],
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=PATIENCE,
        )

    @contextmanager
    def serving(self, line: str) -> Iterator[None]:
        """Give the command a terminal of its own, and end it as Ctrl-C does."""
        output = (self.path / f"{line.rpartition(' ')[2]}.log").open("wb")
        process = subprocess.Popen(
            ["bash", "-c", f". ./settings.sh; exec {line}"],
            cwd=self.path,
            env=self.environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            yield
        finally:
            os.killpg(process.pid, signal.SIGINT)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
            output.close()

    def wait_for_airflow(self) -> None:
        end = time.monotonic() + PATIENCE
        while True:
            try:
                urlopen(f"{self.ui}/api/v2/monitor/health", timeout=5).close()
            except (URLError, OSError):
                assert time.monotonic() < end, (self.path / "standalone.log").read_text()[-3000:]
                time.sleep(1)
            else:
                return


def _installed_quickly(line: str) -> str:
    """Have uv install what pip is to, with the versions that are pinned here: in seconds."""
    if not line.startswith("venv/bin/pip install"):
        return line
    wanted = shlex.split(line)[2 : shlex.split(line).index("--constraint")]
    uv = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", "venv/bin/python"]
    return shlex.join([*uv, *wanted, "--constraint", str(ROOT / "constraints.txt")])


@pytest.fixture
def folder(tmp_path) -> Folder:
    """Give an empty folder but for the wheel, and ports that nobody has."""
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIRFLOW_", "PYTHON"))}
    with free_ports(3) as ports:
        ui, worker_logs, trigger_logs = map(str, ports)
    ports_of_its_own = {
        "AIRFLOW__API__PORT": ui,
        "AIRFLOW__API__BASE_URL": f"http://localhost:{ui}",
        "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": worker_logs,
        "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": trigger_logs,
    }
    return Folder(tmp_path, kept | ports_of_its_own | {"COLUMNS": "300"}, f"http://localhost:{ui}")


def test_the_guide_leads_from_an_empty_folder_to_a_lead_that_was_sent_again(folder):
    """Each file saved and each command typed as it stands; each prints what the guide says."""
    with ExitStack() as terminals:
        for step in steps(GUIDE.read_text()):
            if isinstance(step, File):
                folder.save(step)
            elif step.line in SERVERS:
                terminals.enter_context(folder.serving(step.line))
                if step.line == "airflow standalone":
                    folder.wait_for_airflow()
            else:
                folder.type(step)
    received = re.findall(
        r"^(took|refused) (\d) ", (folder.path / "receiver.py.log").read_text(), re.MULTILINE
    )
    assert sorted(received) == [("refused", "4"), ("took", "1"), ("took", "2"), ("took", "4")]
