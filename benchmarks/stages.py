"""Where the time of one lead goes: each stage alone, one after another, in one thread."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.leads import IN_FLIGHT, extra, read_rows, write_leads
from benchmarks.nginx import running_nginx
from benchmarks.running import run_benchmarks
from tests.support.databases import empty_database, running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from benchmarks.figures import Figure
    from zbl_provider.delivery.destination import Destination
    from zbl_provider.log.model import Candidate, Claimed

BATCH = 250
BODY = {
    "email": "{{ lead.email | lower }}",
    "firstname": "{{ lead.name.split(' ')[0] }}",
    "phone": "{{ lead.phone | replace('+', '') }}",
    "score": "{{ lead.score }}",
    "source": "Leads of {{ list.name }}",
    "properties": {"city": "{{ lead.custom_fields.city | default(none) }}", "kind": "lead"},
}
"""Six expressions, as a CRM's would be."""


@contextmanager
def _stage(name: str, count: int) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.thread_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    print(f"{name:<34} {wall / count * 1e6:>8.1f} {cpu / count * 1e6:>8.1f}")


def main(*, quick: bool = False) -> list[Figure]:
    """Print microseconds per lead: by the clock, and of this thread's processor time."""
    from zbl_provider.delivery.destination import Destination
    from zbl_provider.dispatch.intake import candidate, read
    from zbl_provider.leads.body import Body

    count = 1_000 if quick else 10_000
    print(f"Stages of one lead, {count} leads, batches of {BATCH}, microseconds")
    print(f"{'':<34} {'wall':>8} {'CPU':>8}")
    with (
        running_nginx() as nginx,
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_postgres(Path(name) / "postgres", durable=True) as server,
        empty_database(server) as postgres,
    ):
        path = Path(name) / "leads.db"
        write_leads(path, count)
        settings = extra(verify=nginx.authority)
        destination = Destination.parse(integration="bench", host=nginx.url, extra=settings)
        with _stage("read rows (SQLite)", count):
            rows = list(read_rows(str(path)))
        with _stage("row to lead", count):
            leads = list(read(iter(rows), None))
        with _stage("payload, filters, schema, ids", count):
            candidates = [candidate(lead, destination) for lead in leads]
        shaped = replace(destination, body=Body(BODY))
        with _stage("the same, with a body of its own", count):
            for lead in leads:
                candidate(lead, shaped)
        claimed = _log("SQLite", f"sqlite:///{name}/log.db", candidates)
        claimed = _log("PostgreSQL", postgres, candidates)
        with _stage(f"sign and send, {IN_FLIGHT} in flight", count):
            _send(destination, claimed)
    return []


def _log(kind: str, url: str, candidates: Sequence[Candidate]) -> list[Claimed]:
    from cryptography.fernet import Fernet

    from zbl_provider.delivery.exchange import Answer
    from zbl_provider.delivery.outcome import classify
    from zbl_provider.log.model import RunKey, Settlement
    from zbl_provider.log.store import DeliveryLog

    key = Fernet.generate_key()
    log = DeliveryLog(url, cipher=Fernet(key), keys=[key])
    log.upgrade()
    now, lease = datetime.now(UTC), timedelta(minutes=1)
    run = log.begin(RunKey("bench", "bench", "bench"), "bench", 0, now)
    outcome = classify(Answer(200, '{"ok": true}', None, 0.01))
    claimed: list[Claimed] = []
    count = len(candidates)
    with _stage(f"encrypt, enrol and claim, {kind}", count):
        for at in range(0, count, BATCH):
            batch = candidates[at : at + BATCH]
            claimed += log.enrol(run, "bench", batch, now, lease=lease).claimed
    with _stage(f"settle, {kind}", count):
        for at in range(0, count, BATCH):
            made = [Settlement(lead, outcome, now, None) for lead in claimed[at : at + BATCH]]
            log.settle(made, run)
    log.close()
    return claimed


def _send(destination: Destination, claimed: Sequence[Claimed]) -> None:
    import uvloop

    from zbl_provider.delivery.exchange import Request
    from zbl_provider.delivery.guard import Guard
    from zbl_provider.delivery.transport import Transport

    async def send_all() -> None:
        async with Transport(destination, Guard.parse("127.0.0.0/8, ::1/128")) as transport:
            shared = iter(claimed)

            async def send() -> None:
                for lead in shared:
                    await transport.send(Request(lead.webhook_id, lead.body))

            await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send_all())


if __name__ == "__main__":
    run_benchmarks({"stages": main})
