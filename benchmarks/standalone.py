"""What leads cost in a real Airflow: one task for all beside one task each, and while they wait."""

from __future__ import annotations

import statistics
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.figures import Figure
from benchmarks.installation import running_installation
from benchmarks.running import run_benchmarks
from tests.support.rest import wait_for

if TYPE_CHECKING:
    from benchmarks.installation import Installation
    from tests.support.rest import Json

WHERE = "one Airflow, LocalExecutor, PostgreSQL"


class Took(NamedTuple):
    """
    Seconds that a lead took.

    :param whole: from the run's trigger to its end
    :param tasks: from the start of its first task to the end of its last one
    """

    whole: float
    tasks: float


class Waited(NamedTuple):
    """
    What was seen of leads that waited for their second attempt.

    :param slots: of the pool that were occupied
    :param running: task instances that ran, in the whole installation
    :param triggers: in the metadata database
    :param late: seconds from the first lead's time to its attempt
    """

    slots: int
    running: int
    triggers: int
    late: float


def main(*, quick: bool = False) -> list[Figure]:
    """Measure in turns in one installation."""
    leads, mapped, wait, rounds = (300, 3, 8, 1) if quick else (10_000, 100, 20, 3)
    ours: list[Took] = []
    peer: list[Took] = []
    waits: list[Waited] = []
    with running_installation(leads, mapped, wait) as installation:
        for turn in range(rounds):
            integration = f"bulk_{turn}"
            installation.connect(integration, installation.nginx.url)
            ours.append(took(installation, "bench_bulk", leads, integration))
            peer.append(took(installation, "bench_mapped", mapped))
            waits.append(_wait(installation, f"waiting_{turn}", leads, wait))
            print(_round(turn + 1, rounds, ours[-1], peer[-1], waits[-1]), flush=True)
    _show(ours, peer, leads, mapped)
    return [_speed(ours, peer, leads, mapped), *_waiting(waits, leads)]


def _round(turn: int, rounds: int, ours: Took, peer: Took, waited: Waited) -> str:
    return (
        f"round {turn} of {rounds}, ms a lead: ours {ours.whole * 1000:.2f}, mapped "
        f"{peer.whole * 1000:.0f}; the wait held {waited.slots} slots, {waited.running} tasks and "
        f"{waited.triggers} trigger, and ended {waited.late:.1f} s late"
    )


def took(installation: Installation, dag_id: str, leads: int, integration: str = "") -> Took:
    """Have a Dag run once, and return the seconds that a lead took."""
    run = installation.run(dag_id, {"integration": integration})
    tasks = installation.rest.tasks(dag_id, run["dag_run_id"])
    started = min(_moment(task, "start_date") for task in tasks)
    ended = max(_moment(task, "end_date") for task in tasks)
    whole = (_moment(run, "end_date") - _moment(run, "queued_at")).total_seconds()
    return Took(whole / leads, (ended - started).total_seconds() / leads)


def _moment(resource: Json, name: str) -> datetime:
    return datetime.fromisoformat(resource[name])


def _wait(installation: Installation, integration: str, leads: int, wait: float) -> Waited:
    """Have all first attempts answered 503, look on while the task waits, then open the gate."""
    rest, nginx = installation.rest, installation.nginx
    nginx.gate.unlink(missing_ok=True)
    installation.connect(integration, nginx.closed_url)
    run_id = rest.trigger("bench_waiting", conf={"integration": integration})
    wait_for("a deferred task", lambda: _is_deferred(rest.task(*_send(run_id))), seconds=300)
    due_at = installation.select(installation.log, _FIRST_DUE, name=integration)
    slots, running, triggers = _held(installation, due_at)
    nginx.gate.touch()
    assert _is_deferred(rest.task(*_send(run_id))), f"a wait of {wait} s is too short here"
    state = rest.wait_for_run("bench_waiting", run_id, seconds=600)
    assert state == "success", state
    assert installation.select(installation.log, _ATTEMPTS, name=integration) == 2 * leads
    started_at = installation.select(installation.log, _FIRST_SECOND, name=integration)
    return Waited(slots, running, triggers, (started_at - due_at).total_seconds())


_FIRST_DUE = "SELECT min(due_at) FROM zbl_delivery WHERE integration = :name"
_OF_INTEGRATION = """
FROM zbl_attempt JOIN zbl_delivery ON zbl_delivery.id = delivery_id WHERE integration = :name
"""
_FIRST_SECOND = f"SELECT min(started_at) {_OF_INTEGRATION} AND number = 2"
_ATTEMPTS = f"SELECT count(*) {_OF_INTEGRATION}"


def _send(run_id: str) -> tuple[str, str, str]:
    return "bench_waiting", run_id, "send"


def _is_deferred(task: Json) -> bool:
    assert task["state"] not in {"failed", "success"}, task["state"]
    return bool(task["state"] == "deferred")


def _held(installation: Installation, due_at: datetime) -> tuple[int, int, int]:
    """Return the most that was held of anything, looking until shortly before the wait ends."""
    looks: list[tuple[int, int, int]] = []
    # The process that deferred the task needs a moment to end.
    time.sleep(1)
    while not looks or (due_at - datetime.now(UTC)).total_seconds() > 2:
        looks.append(_look(installation))
        time.sleep(0.5)
    slots, running, triggers = (max(seen) for seen in zip(*looks, strict=True))
    return slots, running, triggers


def _look(installation: Installation) -> tuple[int, int, int]:
    call = installation.rest.call
    pool = call("GET", "/api/v2/pools/default_pool")
    running = "/api/v2/dags/~/dagRuns/~/taskInstances?state=running&state=queued&limit=1"
    return (
        int(pool["occupied_slots"]),
        int(call("GET", running)["total_entries"]),
        int(installation.select(installation.metadata, "SELECT count(*) FROM trigger")),
    )


def _show(ours: list[Took], peer: list[Took], leads: int, mapped: int) -> None:
    print(f"{WHERE}, nginx over TLS on loopback; milliseconds a lead, median of {len(ours)}")
    print(f"{'':<36}{'leads':>8}{'trigger to end':>16}{'tasks alone':>14}")
    shown = (("DispatchLeadsOperator", leads, ours), ("HttpOperator.expand", mapped, peer))
    for label, count, seen in shown:
        whole, tasks = (statistics.median(times) * 1000 for times in zip(*seen, strict=True))
        print(f"{label:<36}{count:>8,}{whole:>16.2f}{tasks:>14.2f}")


def _speed(ours: list[Took], peer: list[Took], leads: int, mapped: int) -> Figure:
    whole, tasks = (
        statistics.median(theirs) / statistics.median(mine)
        for theirs, mine in zip(zip(*peer, strict=True), zip(*ours, strict=True), strict=True)
    )
    return Figure(
        name="Leads per second in Airflow to HttpOperator.expand",
        value=whole,
        unit="x",
        goal=500,
        bound=100,
        more_is_better=True,
        note=f"{WHERE}; {leads:,} leads in one task beside {mapped} mapped tasks, each run from "
        f"trigger to end ({tasks:,.0f} x from the first task's start to the last one's end)",
    )


def _waiting(waits: list[Waited], leads: int) -> list[Figure]:
    note = f"{WHERE}; {leads:,} leads wait for their second attempt"
    slots = max(max(seen.slots, seen.running) for seen in waits)
    triggers = max(seen.triggers for seen in waits)
    late = statistics.median(seen.late for seen in waits)
    most = f"{note}; the most that was seen"
    return [
        Figure(
            name="Worker slots held by a wait", value=slots, unit="", goal=0, bound=0, note=most
        ),
        Figure(name="Triggers of a wait", value=triggers, unit="", goal=1, bound=1, note=most),
        Figure(
            name="First attempt after its time",
            value=late,
            unit="s",
            goal=5,
            bound=5,
            note=f"{note}; median of {len(waits)}, the worst {max(w.late for w in waits):.1f} s",
        ),
    ]


if __name__ == "__main__":
    run_benchmarks({"standalone": main})
