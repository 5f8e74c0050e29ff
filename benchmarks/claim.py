"""What a claim costs beside millions of finished rows, and in a log that has nothing else."""

from __future__ import annotations

import statistics
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text

from benchmarks.figures import Figure
from benchmarks.leads import NAMES, extra, rows
from benchmarks.running import run_benchmarks
from tests.support.databases import empty_database, running_postgres

if TYPE_CHECKING:
    from zbl_provider.log.model import Run
    from zbl_provider.log.store import DeliveryLog

DUE = 500
LEASE = timedelta(minutes=1)
DAYS = 360

# A year of deliveries, one attempt each; those of the last month still have their payloads, of the
# size that the example has when it is encrypted.
_DELIVERIES = f"""
INSERT INTO zbl_delivery (integration, lead_id, webhook_id, status, fingerprint, attempts, resend,
                          run_id, last_status, created_at, updated_at, delivered_at, payload)
SELECT 'bench', 'finished-' || n, 'msg_finished_' || n, 'delivered', md5(n::text), 1, 0, 1, 200,
       at, at, at,
       CASE WHEN n > 11 * :count / 12 THEN decode(repeat(md5(n::text), 64), 'hex') END
FROM (
    SELECT n, now() - interval '{DAYS} days' * (1 - n::float / :count) AS at
    FROM generate_series(1, :count) AS n
) AS lead
"""
_ATTEMPTS = """
INSERT INTO zbl_attempt (delivery_id, resend, number, run_id, started_at, duration_ms, status_code)
SELECT id, 0, 1, 1, created_at, 50, 200 FROM zbl_delivery ORDER BY id
"""


def main(*, quick: bool = False) -> list[Figure]:
    """Claim the same leads over and over, from either log in turns."""
    finished, rounds = (20_000, 5) if quick else (2_000_000, 25)
    with (
        tempfile.TemporaryDirectory(prefix="zbl-bench-") as name,
        running_postgres(Path(name) / "postgres", durable=True) as server,
        empty_database(server) as empty,
        empty_database(server) as full,
    ):
        logs = {0: _prepare(empty, 0), finished: _prepare(full, finished)}
        times: dict[int, list[float]] = {count: [] for count in logs}
        for turn in range(rounds):
            for count in sorted(logs, reverse=bool(turn % 2)):
                times[count].append(_claim(*logs[count]))
        for log, _ in logs.values():
            log.close()
    return _figures(times, finished)


def _prepare(url: str, finished: int) -> tuple[DeliveryLog, Run]:
    from cryptography.fernet import Fernet

    from zbl_provider.log.model import RunKey
    from zbl_provider.log.store import DeliveryLog

    key = Fernet.generate_key()
    log = DeliveryLog(url, cipher=Fernet(key), keys=[key])
    log.upgrade()
    now = datetime.now(UTC)
    run = log.begin(RunKey("bench", "bench", "bench"), "bench", 0, now)
    started = time.monotonic()
    _fill(url, finished)
    print(f"{finished:,} finished rows written in {time.monotonic() - started:.0f} s", flush=True)
    _enrol(log, run, now)
    return log, run


def _fill(url: str, finished: int) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(_DELIVERIES), {"count": finished})
        connection.execute(text(_ATTEMPTS))
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        # What the server would do sooner or later, not in the middle of a measurement.
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))
    engine.dispose()


def _enrol(log: DeliveryLog, run: Run, now: datetime) -> None:
    from zbl_provider.delivery.destination import Destination
    from zbl_provider.dispatch.intake import candidate, read

    host = "https://localhost/hook"
    destination = Destination.parse(integration="bench", host=host, extra=extra())
    leads = read(((NAMES, row) for row in rows(DUE)), None)
    candidates = [candidate(lead, destination) for lead in leads]
    assert log.enrol(run, "bench", candidates, now).new == DUE


def _claim(log: DeliveryLog, run: Run) -> float:
    """Return the seconds of one claim, and give back what it took."""
    now = datetime.now(UTC)
    started = time.perf_counter()
    claimed = log.claim("bench", DUE, now, LEASE, run=run)
    took = time.perf_counter() - started
    assert len(claimed) == DUE
    log.release(claimed, now)
    return took


def _figures(times: dict[int, list[float]], finished: int) -> list[Figure]:
    medians = {count: statistics.median(seen) for count, seen in times.items()}
    for count, seen in times.items():
        spread = f"{min(seen) * 1000:.1f} to {max(seen) * 1000:.1f}"
        print(
            f"claim of {DUE} beside {count:>9,} finished rows: median {medians[count] * 1000:.1f} "
            f"ms of {len(seen)} ({spread})"
        )
    return [
        Figure(
            name="Claim in a full log to an empty one",
            value=medians[finished] / medians[0],
            unit="x",
            goal=1.1,
            bound=1.5,
            note=f"{DUE} due leads, {finished:,} finished rows with their attempts; PostgreSQL, "
            f"median of {len(times[0])}",
        )
    ]


if __name__ == "__main__":
    run_benchmarks({"claim": main})
