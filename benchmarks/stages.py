"""Where the time of one lead goes: each stage alone, one after another, in one thread."""

from __future__ import annotations

import asyncio
import tempfile
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.bulk import IN_FLIGHT, SECRET, read_rows, write_leads
from benchmarks.nginx import running_nginx
from tests.databases import empty_database, running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from zbl_provider.delivery.destination import Destination
    from zbl_provider.log.model import Candidate, Claimed

COUNT = 10_000
BATCH = 250


@contextmanager
def _stage(name: str) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.thread_time()
    yield
    wall, cpu = time.perf_counter() - wall, time.thread_time() - cpu
    print(f"{name:<34} {wall / COUNT * 1e6:>8.1f} {cpu / COUNT * 1e6:>8.1f}")


def main() -> None:
    """Print microseconds per lead: by the clock, and of this thread's processor time."""
    from zbl_provider.delivery.destination import Destination
    from zbl_provider.intake import candidate, read

    print(f"Stages of one lead, {COUNT} leads, batches of {BATCH}, microseconds")
    print(f"{'':<34} {'wall':>8} {'CPU':>8}")
    with (
        running_nginx() as nginx,
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_postgres(Path(name) / "postgres", durable=True) as server,
        empty_database(server) as postgres,
    ):
        path = Path(name) / "leads.db"
        write_leads(path, COUNT)
        extra = {
            "verify": nginx.authority,
            "signing_secret": SECRET,
            "min_score": 50,
            "field_filters": ["city is not empty"],
        }
        destination = Destination.parse(integration="bench", host=nginx.url, extra=extra)
        with _stage("read rows (SQLite)"):
            rows = list(read_rows(str(path)))
        with _stage("row to lead"):
            found = list(read(iter(rows), None))
        with _stage("payload, filters, schema, ids"):
            candidates = [candidate(lead, destination) for lead in found]
        claimed = _log("SQLite", f"sqlite:///{name}/log.db", candidates)
        claimed = _log("PostgreSQL", postgres, candidates)
        with _stage(f"sign and send, {IN_FLIGHT} in flight"):
            _send(destination, claimed)


def _log(kind: str, url: str, candidates: Sequence[Candidate]) -> list[Claimed]:
    from cryptography.fernet import Fernet

    from zbl_provider.delivery.exchange import Answer
    from zbl_provider.delivery.outcome import classify
    from zbl_provider.log.model import RunKey, Settlement
    from zbl_provider.log.store import DeliveryLog

    log = DeliveryLog(url, cipher=Fernet(Fernet.generate_key()))
    log.upgrade()
    now, lease = datetime.now(UTC), timedelta(minutes=1)
    run = log.begin(RunKey("bench", "bench", "bench"), "bench", 0, now)
    outcome = classify(Answer(200, '{"ok": true}', None, 0.01))
    claimed: list[Claimed] = []
    with _stage(f"encrypt, enrol and claim, {kind}"):
        for at in range(0, COUNT, BATCH):
            batch = candidates[at : at + BATCH]
            claimed += log.enrol(run, "bench", batch, now, lease=lease).claimed
    with _stage(f"settle, {kind}"):
        for at in range(0, COUNT, BATCH):
            batch = [Settlement(one, outcome, now, None) for one in claimed[at : at + BATCH]]
            log.settle(batch, run)
    log.close()
    return claimed


def _send(destination: Destination, claimed: Sequence[Claimed]) -> None:
    import uvloop

    from zbl_provider.delivery.guard import Guard
    from zbl_provider.delivery.transport import Request, Transport

    async def send_all() -> None:
        async with Transport(destination, Guard.parse("127.0.0.0/8, ::1/128")) as transport:
            shared = iter(claimed)

            async def send() -> None:
                for one in shared:
                    await transport.send(Request(one.webhook_id, one.body))

            await asyncio.gather(*(send() for _ in range(IN_FLIGHT)))

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(send_all())


if __name__ == "__main__":
    main()
