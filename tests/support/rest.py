"""A small client of Airflow's REST API, on the standard library alone."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.error import HTTPError
from urllib.parse import quote, urlencode
from urllib.request import OpenerDirector, ProxyHandler, Request, build_opener

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
Json = dict[str, Any]
FINAL_STATES = frozenset({"success", "failed"})


class ApiError(Exception):
    """Airflow answered with an error.

    :param status: HTTP status of the answer.
    :param detail: what Airflow says about it.
    """

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"{status}: {detail}")
        self.status = status
        self.detail = detail


def _opener() -> OpenerDirector:
    # The machine's proxy settings are not meant for an Airflow on the same machine.
    return build_opener(ProxyHandler({}))


def wait_for(what: str, look: Callable[[], T | None], *, seconds: float, pause: float = 0.3) -> T:
    """Call `look` until it returns something true, and return that.

    :param what: named in the error.
    :param seconds: after these, `TimeoutError` is raised.
    """
    end = time.monotonic() + seconds
    while not (answer := look()):
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)
    return answer


@dataclass(slots=True)
class Rest:
    """Airflow's public REST API, as one signed-in user.

    :param url: base URL, without a trailing slash.
    """

    url: str
    user: str
    password: str = field(repr=False)
    _token: str = field(default="", repr=False)
    _opener: OpenerDirector = field(default_factory=_opener, repr=False)

    def call(self, method: str, path: str, body: object = None) -> Json:
        """Send one request and return the decoded answer (empty when there is none)."""
        data = None if body is None else json.dumps(body).encode()
        request = Request(self.url + path, data, self._headers(), method=method)
        try:
            with self._opener.open(request, timeout=60) as answer:
                # Some have nothing to say, and say `null`.
                return dict(json.loads(answer.read() or b"null") or {})
        except HTTPError as error:
            raise ApiError(error.code, error.read().decode(errors="replace")[:2000]) from None

    def _headers(self) -> dict[str, str]:
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        return headers | ({"Authorization": f"Bearer {self._token}"} if self._token else {})

    def sign_in(self) -> None:
        """Fetch a token for the calls that follow."""
        body = {"username": self.user, "password": self.password}
        self._token = self.call("POST", "/auth/token", body)["access_token"]

    def health(self) -> dict[str, str | None]:
        """Return the status of each component by its name."""
        parts = self.call("GET", "/api/v2/monitor/health")
        return {name: part["status"] for name, part in parts.items() if part}

    # Connections

    def create_connection(self, connection_id: str, conn_type: str, **fields: object) -> Json:
        """Save a new connection; `extra` may be a dict."""
        body = _connection(connection_id, conn_type, fields)
        return self.call("POST", "/api/v2/connections", body)

    def update_connection(self, connection_id: str, conn_type: str, **fields: object) -> Json:
        """Save an existing connection again, as its form does."""
        body = _connection(connection_id, conn_type, fields)
        return self.call("PATCH", f"/api/v2/connections/{quote(connection_id)}", body)

    def connection(self, connection_id: str) -> Json:
        """Read a connection back, as its form does."""
        return self.call("GET", f"/api/v2/connections/{quote(connection_id)}")

    def test_connection(self, connection_id: str, conn_type: str, **fields: object) -> Json:
        """Press the form's Test button."""
        body = _connection(connection_id, conn_type, fields)
        return self.call("POST", "/api/v2/connections/test", body)

    # Dags, runs, task instances

    def wait_for_dag(self, dag_id: str, *, seconds: float = 60) -> None:
        """Wait until the Dag has been parsed."""
        wait_for(f"Dag {dag_id}", lambda: self._has_dag(dag_id) or None, seconds=seconds)

    def _has_dag(self, dag_id: str) -> bool:
        try:
            self.call("GET", f"/api/v2/dags/{quote(dag_id)}")
        except ApiError as error:
            if error.status != 404:
                raise
            return False
        return True

    def import_errors(self) -> list[str]:
        """Return why Dag files could not be parsed."""
        errors = self.call("GET", "/api/v2/importErrors")["import_errors"]
        return [f"{error['filename']}: {error['stack_trace']}" for error in errors]

    def trigger(self, dag_id: str, *, conf: Mapping[str, object] | None = None) -> str:
        """Start a run by hand and return its id."""
        body = {"logical_date": None, "conf": conf or {}}
        return str(self.call("POST", f"/api/v2/dags/{quote(dag_id)}/dagRuns", body)["dag_run_id"])

    def run(self, dag_id: str, run_id: str) -> Json:
        """Return one Dag run."""
        return self.call("GET", self._run(dag_id, run_id))

    def wait_for_run(self, dag_id: str, run_id: str, *, seconds: float = 120) -> str:
        """Wait until the run has ended and return its state."""

        def ended() -> str | None:
            state = self.run(dag_id, run_id)["state"]
            return state if state in FINAL_STATES else None

        return wait_for(f"end of {dag_id} {run_id}", ended, seconds=seconds)

    def tasks(self, dag_id: str, run_id: str) -> list[Json]:
        """Return the run's task instances."""
        path = f"{self._run(dag_id, run_id)}/taskInstances?limit=100"
        return list(self.call("GET", path)["task_instances"])

    def task(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Json:
        """Return one task instance."""
        return self.call("GET", self._task(dag_id, run_id, task_id, map_index))

    def clear(self, dag_id: str, run_id: str, task_id: str, *, only_failed: bool = True) -> Json:
        """Clear a task, as the UI's Clear button does."""
        body = {
            "dry_run": False,
            "dag_run_id": run_id,
            "task_ids": [task_id],
            "only_failed": only_failed,
        }
        return self.call("POST", f"/api/v2/dags/{quote(dag_id)}/clearTaskInstances", body)

    def xcom(self, dag_id: str, run_id: str, task_id: str, *, map_index: int = -1) -> object:
        """Return what the task returned."""
        query = urlencode({"map_index": map_index, "deserialize": "true"})
        path = f"{self._run(dag_id, run_id)}/taskInstances/{quote(task_id)}"
        return self.call("GET", f"{path}/xcomEntries/return_value?{query}")["value"]

    def rendered(self, dag_id: str, run_id: str, task_id: str, map_index: int = -1) -> Json:
        """Return the task's rendered fields, as its Rendered Templates page shows them."""
        return dict(self.task(dag_id, run_id, task_id, map_index)["rendered_fields"])

    def log(
        self, dag_id: str, run_id: str, task_id: str, *, attempt: int = 1, map_index: int = -1
    ) -> str:
        """Return one try's log as text."""
        query = urlencode({"map_index": map_index, "full_content": "true"})
        path = f"{self._run(dag_id, run_id)}/taskInstances/{quote(task_id)}/logs/{attempt}?{query}"
        return json.dumps(self.call("GET", path)["content"], ensure_ascii=False)

    def _run(self, dag_id: str, run_id: str) -> str:
        return f"/api/v2/dags/{quote(dag_id)}/dagRuns/{quote(run_id, safe='')}"

    def _task(self, dag_id: str, run_id: str, task_id: str, map_index: int) -> str:
        path = f"{self._run(dag_id, run_id)}/taskInstances/{quote(task_id)}"
        return path if map_index < 0 else f"{path}/{map_index}"


def _connection(connection_id: str, conn_type: str, fields: Mapping[str, object]) -> Json:
    extra = fields.get("extra")
    text = {"extra": json.dumps(extra)} if isinstance(extra, dict) else {}
    return {"connection_id": connection_id, "conn_type": conn_type, **fields, **text}
