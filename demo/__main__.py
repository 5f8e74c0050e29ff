"""Run the demo: `python -m demo [--once]`, or `make demo`."""

from __future__ import annotations

import argparse
import shutil
import signal
import sys
import tempfile
from pathlib import Path

from demo import leads, world
from demo.report import Clock, console
from demo.show import DAG_ID, Show
from tests.support.airflow import USER, Airflow, AirflowDidNotStart
from tests.support.receiver import Receiver
from tests.support.rest import ApiError

HERE = Path(__file__).parent
LOOPBACK = "127.0.0.0/8, ::1/128"


def main() -> int:
    """Run the demo and return the process's exit status."""
    parser = argparse.ArgumentParser(prog="python -m demo", description=__doc__)
    parser.add_argument("--once", action="store_true", help="exit when the story is over")
    once = parser.parse_args().once
    # Whoever ends this process politely wants all it started to end too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    folder = _folder()
    try:
        status = _demo(folder, once=once)
    except KeyboardInterrupt:
        status = 0
    except SystemExit:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    except (AirflowDidNotStart, ApiError, TimeoutError) as error:
        console.print(f"[red]{error}[/]")
        status = 1
    if status:
        console.print(
            f"The logs of Airflow's parts and of the tasks are in {folder / 'airflow' / 'logs'}"
        )
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return status


def _folder() -> Path:
    parent = HERE.parent / ".demo"
    parent.mkdir(exist_ok=True)
    return Path(tempfile.mkdtemp(dir=parent, prefix="run-"))


def _demo(folder: Path, *, once: bool) -> int:
    clock = Clock()
    database = folder / "leads.db"
    leads.write(database)
    clock.say(f"Wrote a leads database (SQLite) with {leads.COUNT + len(leads.ODD)} leads.")
    with Receiver(world.answer) as receiver:
        authority = receiver.write_authority(folder / "ca.pem")
        clock.say(f"A receiver listens on {receiver.url}, with a certificate of its own CA.")
        clock.say("Starting Airflow (about 20 seconds) ...")
        with Airflow(folder / "airflow", HERE / "dags", options=_options()) as airflow:
            clock.say(f"Airflow is up: {airflow.url}, user {USER}, password {airflow.password}")
            try:
                differences = Show(airflow, receiver, database, authority, clock).run()
                _tell(differences)
                if not once:
                    _stay(airflow)
            finally:
                # A second Ctrl-C must not leave half of it running.
                signal.signal(signal.SIGINT, signal.SIG_IGN)
                clock.say("Stopping Airflow ...")
    return int(bool(differences))


def _options() -> dict[str, str]:
    # The network guard refuses local addresses; this receiver is one.
    return {"AIRFLOW__ZBL__ALLOWED_NETWORKS": LOOPBACK}


def _tell(differences: list[str]) -> None:
    if not differences:
        console.print(
            "  [green]Log and receiver agree: each delivered lead arrived exactly once, "
            "under one webhook-id.[/]\n",
            soft_wrap=True,
        )
    for difference in differences:
        console.print(f"  [red]{difference}[/]")


def _stay(airflow: Airflow) -> None:
    console.print(f"  Airflow's UI: [bold]{airflow.url}/dags/{DAG_ID}[/]")
    console.print(f"  Sign in as [bold]{USER}[/] with the password [bold]{airflow.password}[/]")
    console.print("  It stays up until you press Ctrl-C.\n")
    while True:
        signal.pause()


if __name__ == "__main__":
    sys.exit(main())
