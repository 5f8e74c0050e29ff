"""
The worker that most teams write: a table, SELECT … FOR UPDATE SKIP LOCKED, psycopg, requests.

Sixteen threads, each with a connection to the database and to the receiver. A thread locks some
rows, sends them one after the other, writes their outcomes, and commits: when it dies, its rows
are free at once, and what it had sent of them goes out again. With 10 rows at once that is little;
50 were 4 % faster.
"""

from __future__ import annotations

import threading
import time

import psycopg
import requests

from benchmarks.peers.place import THREADS, TIMEOUT, WAITS, Place, headers, is_retried

ROWS = 10

TABLE = """
CREATE TABLE outbox (
    id text PRIMARY KEY,
    body text NOT NULL,
    status text NOT NULL DEFAULT 'pending',
    attempts int NOT NULL DEFAULT 0,
    due_at timestamptz NOT NULL DEFAULT now(),
    answer int
);
CREATE INDEX ON outbox (due_at) WHERE status = 'pending';
"""
CLAIM = """
SELECT id, body, attempts FROM outbox WHERE status = 'pending' AND due_at <= now()
ORDER BY due_at LIMIT %s FOR UPDATE SKIP LOCKED
"""
SETTLE = """
UPDATE outbox SET status = %s, attempts = attempts + 1, answer = %s,
    due_at = now() + %s * interval '1 second'
WHERE id = %s
"""


def install(place: Place) -> None:
    """Make the table."""
    with psycopg.connect(place.postgres) as connection:
        connection.execute(TABLE)


def produce(place: Place, leads: list[tuple[str, bytes]]) -> None:
    """Write the leads down."""
    with psycopg.connect(place.postgres) as connection, connection.cursor() as cursor:
        for start in range(0, len(leads), 1000):
            rows = [(key, body.decode()) for key, body in leads[start : start + 1000]]
            cursor.executemany("INSERT INTO outbox (id, body) VALUES (%s, %s)", rows)
            connection.commit()


def work(place: Place) -> None:
    """Send what is due."""
    threads = [threading.Thread(target=_drain, args=(place,)) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _drain(place: Place) -> None:
    with psycopg.connect(place.postgres) as connection, requests.Session() as session:
        session.trust_env = False
        session.verify = place.authority
        while True:
            rows = connection.execute(CLAIM, (ROWS,)).fetchall()
            outcomes = [(*_send(place, session, *row), row[0]) for row in rows]
            connection.cursor().executemany(SETTLE, outcomes)
            connection.commit()
            if not rows:
                time.sleep(0.1)


def _send(
    place: Place, session: requests.Session, key: str, body: str, made: int
) -> tuple[str, int | None, int]:
    """Return the new status, the answer's, and the seconds until the next attempt."""
    try:
        answer = session.post(
            place.url, data=body.encode(), headers=headers(key), timeout=TIMEOUT
        ).status_code
    except requests.RequestException:
        answer = None
    if answer is not None and 200 <= answer < 300:
        return "delivered", answer, 0
    if made < len(WAITS) and (answer is None or is_retried(answer)):
        return "pending", answer, WAITS[made]
    return "error", answer, 0
