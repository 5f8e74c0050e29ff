"""Some thousands of deliveries written straight into a log, as months of runs would leave them."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, insert, select

from zbl_provider.leads.payload import webhook_id
from zbl_provider.log.model import Status
from zbl_provider.log.storage import tables
from zbl_provider.log.storage.cipher import excerpt_place, payload_place

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection, Table

    from zbl_provider.log.store import DeliveryLog

# What a receiver may answer, as the log keeps it.
HOSTILE = b"<script>document.title='hacked'</script><style>*{display:none}</style>\x1b[31m\xff"
INTEGRATIONS = ("crm", "make", "zapier")
_REASONS = {
    Status.ERROR: (
        "answered 422 Unprocessable Entity: the destination does not take this lead",
        "answered 401 Unauthorized: check the login or the secret_headers of the connection",
        "no answer within 10 s",
    ),
    Status.FILTERED: ("score is under min_score 70", "list is not one of lists"),
    Status.INVALID: ("lead.email: must be a string or null",),
    Status.RETRYING: ("answered 503 Service Unavailable",),
}
_CODES = {"answered 422": 422, "answered 401": 401, "answered 503": 503}
_SHARES = (
    (Status.DELIVERED, 86),
    (Status.FILTERED, 8),
    (Status.ERROR, 3),
    (Status.INVALID, 1),
    (Status.RETRYING, 2),
)


def seed(
    log: DeliveryLog, count: int, now: datetime, *, days: float = 9, dags: Mapping[str, str]
) -> None:
    """
    Write leads and their attempts, the newest last.

    :param log: an empty log
    :param count: how many leads
    :param now: the present time, aware; leads are spread over the days before it
    :param days: how many
    :param dags: the ids of the Dags that are said to have sent them, by integration
    """
    log.upgrade()
    chance = random.Random(7)
    runs = _runs(now, days, dags)
    seeded = [_lead(n, count, now, days, runs, chance) for n in range(1, count + 1)]
    for lead, made in seeded:
        _seal(log, lead, made)
    deliveries = [lead for lead, _ in seeded]
    attempts = [attempt for _, made in seeded for attempt in made]
    with log._engine.begin() as connection:
        connection.execute(insert(tables.run), runs)
        connection.execute(
            insert(tables.integration), [{"integration": name} for name in INTEGRATIONS]
        )
        connection.execute(insert(tables.delivery), deliveries)
        connection.execute(insert(tables.attempt), attempts)
        if connection.dialect.name == "postgresql":
            for table in (tables.run, tables.delivery):
                _count_on(connection, table)


def _seal(log: DeliveryLog, lead: dict[str, Any], made: list[dict[str, Any]]) -> None:
    """Have payload and answers rest as the log keeps them."""
    webhook_id = lead["webhook_id"]
    if lead["payload"] is not None:
        lead["payload"] = log._seal.close(lead["payload"], payload_place(webhook_id))
    for attempt in made:
        if attempt["excerpt"] is not None:
            place = excerpt_place(webhook_id, attempt["resend"], attempt["number"])
            attempt["excerpt"] = log._seal.close(attempt["excerpt"], place)


def _count_on(connection: Connection, table: Table) -> None:
    """Have the database number further rows after those that were numbered here."""
    sequence = func.pg_get_serial_sequence(table.name, "id")
    connection.execute(
        select(func.setval(sequence, select(func.max(table.c.id)).scalar_subquery()))
    )


def _runs(now: datetime, days: float, dags: Mapping[str, str]) -> list[dict[str, Any]]:
    runs: list[dict[str, Any]] = []
    for hour in range(int(days * 24) + 1):
        at = now - timedelta(hours=hour)
        runs += [
            {
                "id": len(runs) + place + 1,
                "dag_id": dags[name],
                "task_id": f"to_{name}",
                "run_id": f"scheduled__{at:%Y-%m-%dT%H:00:00+00:00}",
                "map_index": -1,
                "integration": name,
                "epoch": 0,
                "created_at": at,
                "chosen": False,
            }
            for place, name in enumerate(INTEGRATIONS)
        ]
    return runs


def _lead(
    n: int,
    count: int,
    now: datetime,
    days: float,
    runs: list[dict[str, Any]],
    chance: random.Random,
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    created = now - timedelta(days=days) * (1 - n / count) - timedelta(seconds=30)
    integration = chance.choices(INTEGRATIONS, (5, 2, 3))[0]
    status = chance.choices(list(dict(_SHARES)), [share for _, share in _SHARES])[0]
    if status is Status.RETRYING and now - created > timedelta(hours=1):
        status = Status.DELIVERED
    reason = chance.choice(_REASONS[status]) if status in _REASONS else None
    hour = int((now - created) / timedelta(hours=1))
    run = runs[hour * len(INTEGRATIONS) + INTEGRATIONS.index(integration)]
    code = 200 if status is Status.DELIVERED else _code(reason)
    made = _attempts(n, run["id"], status, code, reason, created, chance)
    lead = {
        "id": n,
        "integration": integration,
        "lead_id": f"lead-{n:05}",
        "webhook_id": webhook_id(integration, f"lead-{n:05}"),
        "status": status.value,
        "reason": reason,
        "fingerprint": "",
        "attempts": len(made),
        "resend": 0,
        "due_at": now + timedelta(minutes=chance.randrange(1, 15))
        if status is Status.RETRYING
        else None,
        "claim": None,
        "run_id": run["id"],
        "last_status": code if made else None,
        "last_kind": made[-1]["kind"] if made else None,
        "created_at": created,
        "updated_at": made[-1]["started_at"] if made else created,
        "delivered_at": made[-1]["started_at"] if status is Status.DELIVERED else None,
        "payload": None if status in {Status.FILTERED, Status.INVALID} else b"{}",
    }
    return lead, made


def _code(reason: str | None) -> int | None:
    return next((code for start, code in _CODES.items() if (reason or "").startswith(start)), None)


def _attempts(
    n: int,
    run_id: int,
    status: Status,
    code: int | None,
    reason: str | None,
    created: datetime,
    chance: random.Random,
) -> list[dict[str, Any]]:
    if status in {Status.FILTERED, Status.INVALID}:
        return []
    timed_out = status is Status.ERROR and code is None
    made = 5 if timed_out else (2 if chance.random() < 0.04 else 1)
    waits = (0, 60, 360, 1260, 3060)
    return [
        {
            "delivery_id": n,
            "resend": 0,
            "number": place + 1,
            "run_id": run_id,
            "started_at": created + timedelta(seconds=1 + waits[place]),
            "duration_ms": 10_000 if timed_out else int(chance.lognormvariate(5, 0.6)),
            "status_code": (503 if place + 1 < made else code) if not timed_out else None,
            "kind": "timeout" if timed_out else None,
            "detail": reason if place + 1 == made else "answered 503 Service Unavailable",
            "excerpt": HOSTILE if code == 422 else None,
        }
        for place in range(made)
    ]
