"""The demo's story: send, retry, fail, correct, clear, resend."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demo import report, world
from demo.report import Clock, DeliveryLog, console
from tests.support.rest import FINAL_STATES, Rest

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.airflow import Airflow
    from tests.support.receiver import Receiver

DAG_ID = "leads_to_three_integrations"
CORRECTED = "call_center"
LIMIT = 240.0
_MEANING = {
    "running": "is running",
    "deferred": "is deferred until the next attempt, no worker waits",
    "success": "has [green]succeeded[/]",
    "failed": "has [red]failed[/]",
}


@dataclass(slots=True)
class Show:
    """The story, told while it happens.

    :param database: the leads database.
    :param authority: file with the receiver's CA.
    """

    airflow: Airflow
    receiver: Receiver
    database: Path
    authority: Path
    clock: Clock
    rest: Rest = field(init=False)
    log: DeliveryLog = field(init=False)
    run_id: str = field(default="", init=False)
    _first: float | None = field(default=None, init=False)
    _states: dict[str, str] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self.rest = self.airflow.rest
        self.log = DeliveryLog(self.airflow.home)

    def run(self) -> list[str]:
        """Tell the whole story; return what differed from what must be."""
        self._save_connections()
        self._trigger()
        self._watch()
        self._explain()
        self._correct()
        self._watch()
        return self._compare()

    def _save_connections(self) -> None:
        self.rest.create_connection("leads", "sqlite", host=str(self.database))
        for integration in world.INTEGRATIONS:
            headers = world.WRONG_HEADER if integration.name == CORRECTED else {}
            fields = integration.connection(self.receiver.url, self.authority, **headers)
            self.rest.create_connection(integration.name, "zbl_webhook", **fields)
        self.clock.say("Saved three connections, each with a header and filters of its own:")
        for integration in world.INTEGRATIONS:
            console.print(f"          [bold]{integration.name:<12}[/]{integration.about}")

    def _trigger(self) -> None:
        self.rest.wait_for_dag(DAG_ID)
        self.run_id = self.rest.trigger(DAG_ID)
        self.clock.say(f"Triggered the Dag {DAG_ID}: one task an integration.")

    def _watch(self) -> None:
        """Print what changes until the run has ended."""
        end = time.monotonic() + LIMIT
        while not self._look():
            if time.monotonic() > end:
                raise TimeoutError(f"the run has not ended within {LIMIT:g} s")
            time.sleep(0.3)

    def _look(self) -> bool:
        ended = self.rest.run(DAG_ID, self.run_id)["state"] in FINAL_STATES
        self._tell_first_arrival()
        for task in self.rest.tasks(DAG_ID, self.run_id):
            self._tell_state(task["task_id"], task["state"])
        return ended

    def _tell_first_arrival(self) -> None:
        if self._first is None and (received := self.receiver.received):
            self._first = min(request.at for request in received)
            self.clock.say("[bold]The first lead is at the receiver.[/]", at=self._first)

    def _tell_state(self, task_id: str, state: str) -> None:
        before = self._states.get(task_id)
        if state not in _MEANING or state == before:
            return
        self._states[task_id] = state
        if state == "running" and before == "deferred":
            return
        numbers = report.in_words(self.log.counts(task_id)) if state != "running" else ""
        self.clock.say(f"[bold]{task_id:<12}[/]{_MEANING[state]}{numbers and ': '}{numbers}")

    def _explain(self) -> None:
        console.print()
        entries = self.log.entries()
        console.print(report.table("After the run", entries, self.receiver.received))
        for sentence in report.troubles(entries):
            console.print(f"  {sentence}", soft_wrap=True)
        console.print()

    def _correct(self) -> None:
        integration = next(i for i in world.INTEGRATIONS if i.name == CORRECTED)
        fields = integration.connection(self.receiver.url, self.authority)
        self.rest.update_connection(CORRECTED, "zbl_webhook", **fields)
        self.clock.say(f"Corrected the header of {CORRECTED} through Airflow's REST API.")
        self.rest.clear(DAG_ID, self.run_id, CORRECTED)
        self.clock.say(
            f"Cleared the task {CORRECTED}, as one does in the UI: its leads in error go out again."
        )
        self._states.pop(CORRECTED)

    def _compare(self) -> list[str]:
        entries, received = self.log.entries(), self.receiver.received
        console.print()
        console.print(report.table("In the end", entries, received))
        console.print(report.odd_rows(entries))
        differences: list[str] = []
        for integration in world.INTEGRATIONS:
            expected = integration.expected(self.database)
            differences += report.differences(integration, expected, entries, received)
        self._tell_times()
        return differences

    def _tell_times(self) -> None:
        first = self.clock.since(self._first) if self._first else "never"
        console.print(
            f"  First lead at the receiver after {first}, all done after {self.clock.since()}."
        )
