"""The Dags of `dags/` in a real Airflow, set up by the very commands that they tell people to type.

Each has integrations of its own, and all of them read one table.
"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from sqlalchemy import create_engine, make_url, text

from tests.support.commands import EXAMPLES, commands, documentation
from tests.support.receiver import Reply
from tests.support.rest import wait_for

if TYPE_CHECKING:
    from tests.support.airflow import Airflow
    from tests.support.receiver import Received, Receiver
    from tests.support.rest import Rest

PATH = "/examples/"
# One process for all of them: each would spend seconds on importing Airflow. It takes the commands
# as they are, but for the places that the connections lead to: those are on this machine.
TYPE_ALL = """
import json, shlex, sys, tempfile, yaml
from pathlib import Path
from airflow.cli.cli_parser import get_parser
asked = json.load(sys.stdin)
for line in asked["lines"]:
    _, *words = shlex.split(line)
    typed = get_parser().parse_args(words)
    if words[:2] == ["connections", "import"]:
        found = yaml.safe_load((Path(asked["folder"]) / typed.file).read_text())
        for name, fields in found.items():
            fields["host"] = asked["url"] + name
            fields.setdefault("extra", {})["verify"] = asked["authority"]
        found["zbl_leads"] = asked["leads"]
        with tempfile.NamedTemporaryFile("w", suffix=".yaml", delete=False) as changed:
            yaml.safe_dump(found, changed)
        typed.file = changed.name
    typed.func(typed)
"""
TABLE = """
CREATE TABLE leads (
    id text PRIMARY KEY, email text, name text, phone text, company text, score integer,
    status text, custom_fields json, verifications json, created_at timestamptz,
    qualified_at timestamptz, list_id text, list_name text
)
"""
INSERT = """
INSERT INTO leads (id, email, name, phone, score, status, list_name, qualified_at)
VALUES (:id, 'ana@example.com', 'Ana Souza', :phone, :score, 'qualified', :list, :now)
"""


@dataclass(slots=True)
class Examples:
    """The examples in an Airflow.

    :param receiver: what all their integrations lead to.
    :param authority: file with the receiver's CA.
    :param leads: SQLAlchemy URL of their PostgreSQL database.
    :param broken: integrations that answer 404.
    """

    airflow: Airflow
    receiver: Receiver
    authority: str
    leads: str
    broken: set[str]
    rest: Rest = field(init=False)

    def __post_init__(self) -> None:
        self.rest = self.airflow.rest

    def set_up(self) -> None:
        """Type the documented commands, each once."""
        self._answer_for_them()
        for dag in EXAMPLES:
            self.rest.wait_for_dag(dag.stem)
        lines = [line for dag in EXAMPLES for line in commands(documentation(dag))]
        asked = {
            "lines": list(dict.fromkeys(lines)),
            "folder": str(EXAMPLES[0].parent),
            "url": self.receiver.url + PATH,
            "authority": self.authority,
            "leads": _airflow_uri(self.leads),
        }
        subprocess.run(
            [sys.executable, "-c", TYPE_ALL],
            env=self.airflow.environment,
            input=json.dumps(asked),
            text=True,
            check=True,
        )

    def _answer_for_them(self) -> None:
        answer_others = self.receiver.answer

        def answer(request: Received) -> Reply:
            if not request.path.startswith(PATH):
                return answer_others(request)
            return Reply(404 if request.path.removeprefix(PATH) in self.broken else 200)

        self.receiver.answer = answer

    # The leads

    def create_table(self) -> None:
        """Make the table that the examples read."""
        self._execute(TABLE)

    def qualify(
        self, id_: str, *, score: int = 80, phone: str | None = None, list_: str | None = None
    ) -> None:
        """Write a lead that has qualified just now."""
        values = {"id": id_, "score": score, "phone": phone, "list": list_}
        self._execute(INSERT, **values, now=datetime.now(UTC))

    def _execute(self, statement: str, **values: object) -> None:
        engine = create_engine(self.leads)
        with engine.begin() as connection:
            connection.execute(text(statement), values)
        engine.dispose()

    # What became of them

    def first_run(self, dag_id: str) -> str:
        """Wait for the first run that Airflow starts by itself, and return its id."""

        def look() -> str | None:
            query = "run_type=scheduled&run_type=asset_triggered&order_by=id&limit=1"
            runs = self.rest.call("GET", f"/api/v2/dags/{dag_id}/dagRuns?{query}")["dag_runs"]
            return str(runs[0]["dag_run_id"]) if runs else None

        return wait_for(f"a run of {dag_id}", look, seconds=90)

    def received(self, integration: str) -> list[Received]:
        """Return what an integration has answered."""
        return [r for r in self.receiver.received if r.path == PATH + integration]

    def arrivals(self, integration: str) -> list[str]:
        """Return the ids of the leads that an integration has answered 200 to, sorted."""
        return sorted(r.lead_id for r in self.received(integration) if r.status == 200)


def _airflow_uri(sqlalchemy_url: str) -> str:
    url = make_url(sqlalchemy_url)
    return f"postgresql://{url.username}@{quote(str(url.query['host']), safe='')}/{url.database}"
