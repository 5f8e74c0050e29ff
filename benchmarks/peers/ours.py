"""
This provider: one run of a DispatchLeadsOperator, without Airflow's own start.

It does more than the peers: it reads the rows and makes the payloads of them, filters, validates,
signs and encrypts. Nothing is put into a queue for it beforehand.
"""

from __future__ import annotations

import argparse
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy import make_url

from benchmarks.ways import dispatching

if TYPE_CHECKING:
    from benchmarks.peers.place import Place

KEY = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="  # a restarted worker has the same one


def install(place: Place) -> None:
    """Make the tables."""
    dispatching(_options(place))


def produce(place: Place, leads: list[tuple[str, bytes]]) -> None:
    """Nothing: a run reads its rows itself."""


def work(place: Place) -> None:
    """Dispatch, and again when something is due later, as Airflow would resume the task."""
    dispatch = dispatching(_options(place))
    print("ready", flush=True)
    input()
    while (due_at := dispatch().due_at) is not None:
        time.sleep(max(0.01, (due_at - datetime.now(UTC)).total_seconds()))


def _options(place: Place) -> argparse.Namespace:
    log = make_url(place.postgres).set(drivername="postgresql+psycopg")
    return argparse.Namespace(
        url=place.url,
        authority=place.authority,
        leads=place.leads,
        log=log.render_as_string(hide_password=False),
        key=KEY,
    )
