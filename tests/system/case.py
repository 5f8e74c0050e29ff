"""Scenarios: what a test wants to happen in the Airflow that all system tests share.

Those that need no watching are started together, before the first test: two cores then have
something to do while a lead waits for its next attempt.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil
from sqlalchemy import Column, MetaData, String, Table, create_engine, inspect, text

from tests.support.receiver import Received, Receiver, Reply
from tests.support.rest import Json, Rest, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tests.support.airflow import Airflow
    from tests.support.statsd import Statsd

COLUMNS = ("id", "name", "email", "phone", "company", "score", "status", "list_id", "list_name")
COLUMNS += ("segment", "qualified_at", "created_at", "custom_fields", "verifications")
EMAIL = "ana.souza@example.com"  # no command may show it


def lead(id_: str, **fields: object) -> dict[str, object]:
    """Return a row of a leads table: a plausible lead, but for `fields`."""
    row: dict[str, object] = dict.fromkeys(COLUMNS)
    row |= {"id": id_, "name": "Ana Souza", "status": "qualified", "score": "80"}
    return row | fields


def always(status: int) -> Callable[[Received], Reply]:
    """Answer every request with one status."""
    return lambda _: Reply(status)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """What one test wants to happen.

    :param name: of its Dag, table, connection and receiver's path.
    :param rows: its table.
    :param answer: how its receiver answers.
    :param connection: fields of its connection, over the ordinary ones.
    :param extra: settings in the connection's Extra.
    :param start: whether a run is triggered before the first test.
    :param during: called in a thread of its own once the run is triggered, if it is.
    :param url: what follows its path in the destination URL.
    :param leads: connection of its table: `leads` (SQLite) or `pg_leads`.
    :param conf: of the run.
    """

    name: str
    rows: Sequence[Mapping[str, object]] = ()
    answer: Callable[[Received], Reply] = field(default=always(200))
    connection: Mapping[str, object] = field(default_factory=dict)
    extra: Mapping[str, object] = field(default_factory=dict)
    start: bool = True
    during: Callable[[Case], None] | None = None
    url: str = ""
    leads: str = "leads"
    conf: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True)
class Stage:
    """What all cases share: one Airflow, one receiver, the databases.

    :param answers: by path, how the receiver answers.
    :param databases: SQLAlchemy URLs, by connection id.
    :param authority: file with the receiver's CA.
    """

    airflow: Airflow
    rest: Rest
    receiver: Receiver
    statsd: Statsd
    answers: dict[str, Callable[[Received], Reply]]
    databases: dict[str, str]
    authority: str


@dataclass(slots=True)
class Case:
    """A scenario on the stage."""

    scenario: Scenario
    stage: Stage
    run_id: str = ""
    thread: threading.Thread | None = None
    problem: Exception | None = None

    @property
    def name(self) -> str:
        """Name of the Dag, the connection, the table."""
        return self.scenario.name

    @property
    def rest(self) -> Rest:
        """Airflow's REST API."""
        return self.stage.rest

    @property
    def path(self) -> str:
        """Where the receiver listens for it."""
        return f"/hooks/catch/{self.name}{self.scenario.url}"

    # Before the test

    def prepare(self) -> None:
        """Make the table and the connection, and teach the receiver its answers."""
        self.stage.answers[self.path] = self.scenario.answer
        self._write_rows()
        fields = {"host": self.stage.receiver.url + self.path, **self.scenario.connection}
        extra = {"verify": self.stage.authority, **self.scenario.extra}
        self.rest.create_connection(self.name, "zbl_webhook", **fields, extra=extra)

    def _write_rows(self) -> None:
        if not self.scenario.rows:
            return
        metadata = MetaData()
        table = Table(self.name, metadata, *(Column(name, String) for name in COLUMNS))
        engine = create_engine(self.stage.databases[self.scenario.leads])
        with engine.begin() as connection:
            metadata.create_all(connection)
            connection.execute(table.insert(), [dict(row) for row in self.scenario.rows])
        engine.dispose()

    def start(self) -> None:
        """Trigger a run, and what is to happen during it."""
        self.run_id = self.trigger()
        if self.scenario.during:
            self.watch()

    def watch(self) -> None:
        """Begin what is to happen beside the tests."""
        self.thread = threading.Thread(target=self._during, daemon=True)
        self.thread.start()

    def _during(self) -> None:
        try:
            self.scenario.during(self)
        except Exception as problem:  # noqa: BLE001  raised in the test
            self.problem = problem

    # In the test

    def trigger(self) -> str:
        """Trigger one more run and return its id."""
        self.rest.wait_for_dag(self.name)
        return self.rest.trigger(self.name, conf=self.scenario.conf)

    def wait(self, seconds: float = 200) -> None:
        """Wait for the end of what happens beside the tests."""
        if self.thread:
            self.thread.join(seconds)
        if self.problem:
            raise self.problem

    def end(self, run_id: str = "", *, seconds: float = 120) -> str:
        """Wait for the end of the run and return its state."""
        self.wait(seconds)
        return self.rest.wait_for_run(self.name, run_id or self.run_id, seconds=seconds)

    def commit(self, *ids: str) -> None:
        """Have more leads qualify in its table."""
        engine = create_engine(self.stage.databases[self.scenario.leads])
        with engine.begin() as connection:
            for id_ in ids:
                row = {key: value for key, value in lead(id_).items() if value}
                columns, values = ", ".join(row), ", ".join(f":{key}" for key in row)
                insert = text(f"INSERT INTO {self.name} ({columns}) VALUES ({values})")
                connection.execute(insert, row)
        engine.dispose()

    def clear(self, *, only_failed: bool = True) -> None:
        """Clear the task of the run."""
        self.rest.clear(self.name, self.run_id, "send", only_failed=only_failed)

    def task(self) -> Json:
        """Return the task instance."""
        return self.rest.task(self.name, self.run_id, "send")

    def wait_for_task(self, state: str, *, seconds: float = 60) -> Json:
        """Wait until the task is in a state."""

        def look() -> Json | None:
            task = self.task()
            return task if task["state"] == state else None

        return wait_for(f"{self.name} {state}", look, seconds=seconds, pause=0.1)

    def task_log(self) -> str:
        """Return the log of the task's last try."""
        return self.rest.log(self.name, self.run_id, "send", attempt=self.task()["try_number"])

    def workers(self) -> list[psutil.Process]:
        """Return the processes that run the task now: its supervisor, and the task itself."""
        return [p for p in self.stage.airflow.processes() if self.task()["id"] in _title(p)]

    @property
    def received(self) -> list[Received]:
        """The requests that the receiver has answered."""
        return [request for request in self.stage.receiver.received if request.path == self.path]

    def received_of(self, lead_id: str) -> list[Received]:
        """Return what the receiver has answered for one lead."""
        return [request for request in self.received if request.lead_id == lead_id]

    def arrivals(self) -> list[str]:
        """Return the leads' ids, one for each 2xx, sorted."""
        return sorted(r.lead_id for r in self.received if 200 <= r.status < 300)

    def log_rows(self, log: str = "log") -> dict[str, Any]:
        """Return the delivery log's rows, by lead id."""
        query = "SELECT * FROM zbl_delivery WHERE integration = :name"
        rows = select(self.stage.databases[log], query, name=self.name)
        return {row["lead_id"]: row for row in rows}

    def attempts(self, lead_id: str, log: str = "log") -> list[Any]:
        """Return one lead's attempts, first to last."""
        return select(self.stage.databases[log], _ATTEMPTS, name=self.name, lead=lead_id)


_ATTEMPTS = """
SELECT a.* FROM zbl_attempt a JOIN zbl_delivery d ON d.id = a.delivery_id
WHERE d.integration = :name AND d.lead_id = :lead ORDER BY a.id
"""


def select(url: str, query: str, **values: object) -> list[Any]:
    """Return a query's rows as dicts."""
    engine = create_engine(url)
    with closing(engine.connect()) as connection:
        rows = [dict(row) for row in connection.execute(text(query), values).mappings()]
    engine.dispose()
    return rows


def tables(url: str) -> dict[str, list[Any]]:
    """Return everything that is in a database."""
    engine = create_engine(url)
    names = inspect(engine).get_table_names()
    engine.dispose()
    return {name: select(url, f'SELECT * FROM "{name}"') for name in names}


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""
