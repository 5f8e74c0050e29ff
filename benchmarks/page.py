"""How long the first page of the deliveries takes with a million leads in the log, and with few."""

from __future__ import annotations

import statistics
import tempfile
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import text

from benchmarks.figures import Figure
from benchmarks.running import run_benchmarks
from tests.support.databases import empty_database, running_postgres

if TYPE_CHECKING:
    from collections.abc import Iterator

    from zbl_provider.log.browse.model import Query
    from zbl_provider.log.store import DeliveryLog

FEW, MANY = 10_000, 1_000_000
ROUNDS = 15
DAYS = 30
RUNS = 120
PERSON = 40  # leads that one person has, in either log
RARE = 400  # so many leads of the rare integration in each log: the pages compared are full
LEAD = "lead-7777"

_RUNS = """
INSERT INTO zbl_run (dag_id, task_id, run_id, map_index, integration, epoch, created_at, chosen)
SELECT 'sends_to_' || name, 'send', 'scheduled__' || hour, -1, name, 0,
       :now - make_interval(hours => 6 * (:runs - hour)), false
FROM generate_series(1, :runs) AS hour, unnest(ARRAY['common', 'rare', 'usual']) AS name
"""
_DELIVERIES = """
INSERT INTO zbl_delivery (integration, lead_id, webhook_id, status, reason, fingerprint, attempts,
                          resend, due_at, run_id, last_status, created_at, updated_at, delivered_at,
                          payload, email_hash)
SELECT run.integration, 'lead-' || n, 'msg_' || n, status, NULL, '', 1, 0,
       CASE status WHEN 'retrying' THEN CAST(:now AS timestamptz) + interval '5 minutes' END,
       run.id, 200, at, at, CASE status WHEN 'delivered' THEN at END, '\\x00'::bytea,
       CASE WHEN status NOT IN ('filtered', 'invalid') THEN
           ('x' || substr(md5((n % (:count / :person))::text), 1, 16))::bit(64)::bigint END
FROM (
    SELECT n, :now - :days * interval '1 day' * (1 - n::float / :count) AS at,
           CASE WHEN n % (:count / :rare) = 0 THEN 'rare' WHEN n % 3 = 0 THEN 'usual'
                ELSE 'common' END AS name,
           CASE WHEN n > :count - 60 THEN 'retrying' WHEN n % 97 = 0 THEN 'error'
                WHEN n % 13 = 0 THEN 'filtered' WHEN n % 997 = 0 THEN 'invalid'
                ELSE 'delivered' END AS status,
           1 + (n::bigint * (:runs - 1) / :count) AS hour
    FROM generate_series(1, :count) AS n
) AS lead
JOIN zbl_run AS run ON run.run_id = 'scheduled__' || hour AND run.integration = name
ORDER BY n
"""
_ATTEMPTS = """
INSERT INTO zbl_attempt (delivery_id, resend, number, run_id, started_at, duration_ms, status_code)
SELECT id, 0, 1, run_id, created_at, 50 + id % 400, CASE status WHEN 'error' THEN 422 ELSE 200 END
FROM zbl_delivery WHERE status IN ('delivered', 'error') ORDER BY id
"""


def fill(log: DeliveryLog, count: int, now: datetime) -> None:
    """Write leads and their attempts by one statement each."""
    from zbl_provider.leads.payload import webhook_id

    log.upgrade()
    given = {"now": now, "count": count, "days": DAYS, "runs": RUNS, "rare": RARE, "person": PERSON}
    with log._engine.begin() as connection:  # noqa: SLF001  no lead is sent here
        for statement in (_RUNS, _DELIVERIES, _ATTEMPTS):
            connection.execute(text(statement), given)
        connection.execute(
            text(
                "INSERT INTO zbl_integration (integration) SELECT DISTINCT integration FROM zbl_run"
            )
        )
        update = text("UPDATE zbl_delivery SET webhook_id = :id WHERE lead_id = :lead")
        connection.execute(update, {"id": webhook_id("usual", LEAD), "lead": LEAD})
    with log._engine.connect() as connection:  # noqa: SLF001  nor here
        connection.execution_options(isolation_level="AUTOCOMMIT").execute(text("VACUUM ANALYZE"))


def questions(now: datetime) -> Iterator[tuple[str, Query]]:
    """Yield what the page asks for, by name."""
    from zbl_provider.log.browse.model import Query
    from zbl_provider.log.model import Status

    week = now - timedelta(days=7)
    yield "the page as it opens: last 7 days", Query(since=week)
    yield "all time", Query()
    for status in (Status.DELIVERED, Status.ERROR, Status.FILTERED, Status.INVALID):
        yield f"status {status}", Query(status=status, since=week)
    yield "status retrying", Query(status=Status.RETRYING, since=week)
    yield "status pending (none)", Query(status=Status.PENDING, since=week)
    yield "a common integration", Query(integration="common", since=week)
    yield "a rare integration", Query(integration="rare", since=week)
    yield "errors of a rare integration", Query(integration="rare", status=Status.ERROR, since=week)
    yield "one run of a few leads", Query(dag_id="sends_to_rare", run_id="scheduled__100")
    yield "one lead", Query(lead_id=LEAD)
    digest = md5(b"7", usedforsecurity=False).digest()[:8]
    person = int.from_bytes(digest, "big", signed=True)
    yield "one person, by email", Query(email_hashes=(person,))
    yield (
        "one day, three weeks ago",
        Query(since=now - timedelta(days=22), until=now - timedelta(days=21)),
    )
    yield "what one Dag's readers may see", Query(since=week, dags=frozenset({"sends_to_usual"}))
    yield "what a rare Dag's readers may see", Query(since=week, dags=frozenset({"sends_to_rare"}))


def seconds(log: DeliveryLog, query: Query) -> float:
    """Return how long the first page takes, the best half of some rounds on average."""
    times = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        log.reader.deliveries(query, limit=50)
        times.append(time.perf_counter() - started)
    return statistics.mean(sorted(times)[: ROUNDS // 2 + 1])


def main(*, quick: bool = False) -> list[Figure]:
    """Ask both logs everything that the page asks, and print the table."""
    many = 50_000 if quick else MANY
    print(f"First page of 50 leads, PostgreSQL, milliseconds, best half of {ROUNDS} rounds")
    print(f"{'':<36} {FEW:>9,} {many:>11,} {'ratio':>7}")
    now = datetime.now(UTC)
    ratios = []
    with tempfile.TemporaryDirectory(prefix="zbl-bench-") as name, ExitStack() as stack:
        server = stack.enter_context(running_postgres(Path(name) / "postgres"))
        logs = [_prepare(stack, server, count, now) for count in (FEW, many)]
        for what, query in questions(now):
            small, large = (seconds(log, query) * 1000 for log in logs)
            ratios.append((large / small, what))
            print(f"{what:<36} {small:>9.2f} {large:>11.2f} {large / small:>7.2f}")
    return _figures(ratios, many)


def _prepare(stack: ExitStack, server: str, count: int, now: datetime) -> DeliveryLog:
    from zbl_provider.log.store import DeliveryLog

    log = DeliveryLog(stack.enter_context(empty_database(server)))
    stack.callback(log.close)
    fill(log, count, now)
    return log


def _figures(ratios: list[tuple[float, str]], many: int) -> list[Figure]:
    note = f"{many:,} leads beside {FEW:,}"
    worst, what = max(ratios)
    return [
        Figure(
            name="Deliveries page as it opens, many to few",
            value=ratios[0][0],
            unit="x",
            goal=1.5,
            bound=3,
            note=note,
        ),
        Figure(
            name="Deliveries page, slowest filter",
            value=worst,
            unit="x",
            goal=1.5,
            bound=6,
            note=f"{what}, {note}",
        ),
    ]


if __name__ == "__main__":
    run_benchmarks({"page": main})
