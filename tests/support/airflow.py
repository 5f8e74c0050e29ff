"""A real Airflow on this machine, for as long as a `with` block lasts.

The parts are started one by one rather than by `airflow standalone`: each has a log file of
its own, can be stopped by itself, and starts as soon as the database is there.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import sqlite3
import subprocess
import sys
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.error import URLError

import psutil
from sqlalchemy import make_url

from tests.support.rest import ApiError, Rest, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

USER = "admin"
PARTS = ("api-server", "scheduler", "dag-processor", "triggerer")
FAVOURITE_PORT = 8080


class AirflowDidNotStart(Exception):  # noqa: N818  what happened
    """A part of Airflow ended, or was not ready in time; says where its log is."""


class _PortTaken(Exception):  # noqa: N818  what happened
    """Somebody else took the port between the choice and the start."""


@contextmanager
def free_ports(count: int, *, favourite: int | None = None) -> Iterator[list[int]]:
    """Yield ports nobody listens on, all different; `favourite` is the first if it is free."""
    with ExitStack() as stack:
        yield [_bind(stack, favourite if i == 0 else None) for i in range(count)]


def _bind(stack: ExitStack, favourite: int | None) -> int:
    for port in (favourite, 0):
        if port is None:
            continue
        bound = stack.enter_context(socket.socket())
        try:
            bound.bind(("0.0.0.0" if port else "127.0.0.1", port))
        except OSError:
            continue
        return int(bound.getsockname()[1])
    raise AirflowDidNotStart("no free port on 127.0.0.1")


@dataclass(slots=True)
class Airflow:
    """Airflow's scheduler, Dag processor, triggerer and API server, with a home of its own.

    Use it as a context manager: on leaving, whatever the reason, all it started is stopped.

    :param home: AIRFLOW_HOME; made, and filled.
    :param dags: the folder of Dags.
    :param database: SQLAlchemy URL of a PostgreSQL database for the metadata; None for an SQLite
        file in `home`, which serves a handful of tasks at once and no more.
    :param options: more environment variables for every part, such as `AIRFLOW__ZBL__…`.
    :param prepare: a Python program, its name and arguments, that runs once there is a database.
    """

    home: Path
    dags: Path
    database: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    prepare: Sequence[str] = ()
    password: str = field(default_factory=lambda: secrets.token_hex(4), repr=False)
    url: str = field(default="", init=False)
    environment: dict[str, str] = field(default_factory=dict, init=False, repr=False)
    parts: dict[str, psutil.Popen] = field(default_factory=dict, init=False, repr=False)

    @property
    def logs(self) -> Path:
        """The folder with one log file a part."""
        return self.home / "logs" / "parts"

    @property
    def rest(self) -> Rest:
        """A signed-in client of the REST API."""
        rest = Rest(self.url, USER, self.password)
        rest.sign_in()
        return rest

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _start(self) -> None:
        self.logs.mkdir(parents=True, exist_ok=True)
        passwords = self.home / "passwords.json"
        passwords.write_text(json.dumps({USER: self.password}))
        passwords.chmod(0o600)
        for favourite in (FAVOURITE_PORT, None, None):
            try:
                self._start_parts(favourite)
            except _PortTaken:
                self.stop()
            else:
                return
        raise AirflowDidNotStart(f"no port stayed free; the log: {self.logs / 'api-server.log'}")

    def _start_parts(self, favourite: int | None) -> None:
        with free_ports(3, favourite=favourite) as ports:
            self.environment = self._environment(ports)
        self.url = f"http://localhost:{ports[0]}"
        self._run("db-migrate", _airflow("db", "migrate"))
        self._let_readers_and_writers_be()
        if self.prepare:
            self._run("prepare", [sys.executable, *self.prepare])
        for part in PARTS:
            self.start(part)
        wait_for("a healthy Airflow", self._is_healthy, seconds=120, pause=0.2)

    def _environment(self, ports: list[int]) -> dict[str, str]:
        ui, worker_logs, trigger_logs = map(str, ports)
        # The caller's own Airflow must not leak into this one.
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW_")}
        return inherited | {
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__API__BASE_URL": f"http://localhost:{ui}",
            "AIRFLOW__API__PORT": ui,
            "AIRFLOW__CORE__DAGS_FOLDER": str(self.dags),
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self._database(),
            "AIRFLOW__LOGGING__WORKER_LOG_SERVER_PORT": worker_logs,
            "AIRFLOW__LOGGING__TRIGGER_LOG_SERVER_PORT": trigger_logs,
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__CORE__FERNET_KEY": _key(),
            "AIRFLOW__API__SECRET_KEY": _key(),
            "AIRFLOW__API_AUTH__JWT_SECRET": _key(),
            "NO_PROXY": "localhost,127.0.0.1",
            "no_proxy": "localhost,127.0.0.1",
            **_FIXED,
            **self.options,
        }

    def _database(self) -> str:
        if self.database is None:
            # Four parts write to this file: who finds it locked waits, and on a busy machine longer
            # than the driver's usual five seconds.
            return f"sqlite:///{self.home / 'airflow.db'}?timeout=60"
        # Airflow's own driver, whichever one the URL names.
        url = make_url(self.database).set(drivername="postgresql+psycopg2")
        return url.render_as_string(hide_password=False)

    def _let_readers_and_writers_be(self) -> None:
        """Switch SQLite to write-ahead logging, in which readers and writers don't wait."""
        if self.database is None:
            with closing(sqlite3.connect(self.home / "airflow.db")) as connection:
                connection.execute("PRAGMA journal_mode = WAL")

    def _run(self, name: str, command: Sequence[str]) -> None:
        log = self.logs / f"{name}.log"
        with log.open("wb") as output:
            done = subprocess.run(
                command,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                check=False,
            )
        if done.returncode:
            raise AirflowDidNotStart(f"{name} failed; its log: {log}")

    def start(
        self,
        part: str,
        *,
        command: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """Start one part; its output is appended to `<logs>/<part>.log`.

        :param part: its name, and Airflow's command for it.
        :param command: another command than that.
        :param environment: variables of this part alone.
        """
        with (self.logs / f"{part}.log").open("ab") as output:
            self.parts[part] = psutil.Popen(
                _airflow(*(command or (part,))),
                env=self.environment | dict(environment or {}),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C is for the one who started all this, and who then stops it in order.
                start_new_session=True,
            )

    def _is_healthy(self) -> bool:
        for name, part in self.parts.items():
            if part.poll() is not None:
                log = self.logs / f"{name}.log"
                if "address already in use" in log.read_text(errors="replace"):
                    raise _PortTaken
                raise AirflowDidNotStart(f"{name} has ended; its log: {log}")
        try:
            # Signed in, because the password is this one's: another Airflow may have the port.
            health = self.rest.health()
        except (URLError, OSError, ApiError):
            return False
        wanted = {"metadatabase", "scheduler", "triggerer", "dag_processor"}
        return {name for name, status in health.items() if status == "healthy"} >= wanted

    def processes(self) -> list[psutil.Process]:
        """Return every living process that belongs to this Airflow."""
        processes: dict[int, psutil.Process] = {}
        for part in self.parts.values():
            if part.is_running():
                processes[part.pid] = part
                processes |= {child.pid: child for child in part.children(recursive=True)}
        return list(processes.values())

    def stop(self) -> None:
        """Stop all parts and everything they started; what does not end by itself is killed."""
        processes = self.processes()
        for part in self.parts.values():
            if part.is_running():
                part.terminate()
        _, alive = psutil.wait_procs(processes, timeout=5)
        # A task has a process group of its own, so groups would not be enough.
        _kill({process.pid: process for process in [*alive, *self.processes()]})
        self.parts.clear()


def _kill(processes: dict[int, psutil.Process]) -> None:
    for process in processes.values():
        with ExitStack() as ignore:
            ignore.push(lambda kind, *_: kind is psutil.NoSuchProcess)
            process.kill()
    psutil.wait_procs(processes.values(), timeout=5)


def _airflow(*command: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *command]


def _key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


_FIXED = {
    "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
    "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
    "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    # Eight workers are forked at the start; more would only be slower to start.
    "AIRFLOW__CORE__PARALLELISM": "8",
    "AIRFLOW__API__HOST": "127.0.0.1",
    "AIRFLOW__LOGGING__COLORED_CONSOLE_LOG": "False",
    # Airflow's usual intervals are for machines with thousands of Dags.
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "10",
    "AIRFLOW__DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": "2",
    "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
}
