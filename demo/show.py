"""The demo's story: send, retry, fail, correct, clear, resend."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from demo import leads, report, world
from demo.report import Clock, DeliveryLog, console
from demo.rest import FINAL_STATES, Rest

if TYPE_CHECKING:
    from pathlib import Path

    from demo.airflow import Airflow
    from demo.receiver import Receiver

DAG_ID = "leads_to_three_integrations"
CORRECTED = "call_center"
LIMIT = 240.0
_MEANING = {
    "running": "is running",
    "deferred": "is deferred: it waits for the next attempts and holds no worker",
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
        names = ", ".join(integration.name for integration in world.INTEGRATIONS)
        self.clock.say(f"Saved the connections, with headers and filters of their own: {names}.")

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
        if state in _MEANING and self._states.get(task_id) != state:
            counts = self.log.counts(task_id)
            numbers = f" ({report.in_words(counts)})" if counts else ""
            self.clock.say(f"[bold]{task_id:<12}[/]{_MEANING[state]}{numbers}")
            self._states[task_id] = state

    def _explain(self) -> None:
        console.print()
        entries = self.log.entries()
        console.print(report.table("After the run", entries, self.receiver.received))
        for entry in entries:
            if entry.lead_id in {leads.INVALID, leads.REFUSED} and entry.status in {
                "error",
                "invalid",
            }:
                tried = f" after {entry.attempts} attempts" if entry.attempts else ""
                console.print(
                    f"  {entry.integration}: {entry.lead_id} {entry.status}{tried}: {entry.reason}"
                )
        wrong = next(
            (e for e in entries if e.integration == CORRECTED and e.status == "error"), None
        )
        if wrong:
            console.print(f"  {CORRECTED}: every lead was refused: {wrong.reason}")
        console.print()

    def _correct(self) -> None:
        integration = next(i for i in world.INTEGRATIONS if i.name == CORRECTED)
        fields = integration.connection(self.receiver.url, self.authority)
        self.rest.update_connection(CORRECTED, "zbl_webhook", **fields)
        self.clock.say(f"Corrected the header of {CORRECTED} through Airflow's REST API.")
        self.rest.clear(DAG_ID, self.run_id, CORRECTED)
        self.clock.say(f"Cleared the task {CORRECTED}: its leads in error are sent again.")
        self._states.pop(CORRECTED)

    def _compare(self) -> list[str]:
        entries, received = self.log.entries(), self.receiver.received
        console.print()
        console.print(report.table("In the end", entries, received))
        found: list[str] = []
        for integration in world.INTEGRATIONS:
            expected = integration.expected(self.database)
            found += report.differences(integration, expected, entries, received)
        self._tell_times()
        return found

    def _tell_times(self) -> None:
        first = self.clock.since(self._first) if self._first else "never"
        console.print(
            f"  First lead at the receiver after {first}, all done after {self.clock.since()}."
        )
