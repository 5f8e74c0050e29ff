"""
Celery on Redis with requests: acknowledged late, tried again by Celery, results in Redis.

Its pool of processes, each with a connection that is kept: twelve were a quarter faster than four,
or than a pool of 16 threads, and take the most memory. The broker hands a dead worker's tasks out
again after its visibility timeout, which has to be longer than the longest wait of a retry, as its
documentation says: an hour, its default. Nobody would wait that long for a benchmark, so it is a
minute here, which does not suit retries after half an hour.
"""

from __future__ import annotations

import requests
from celery import Celery, Task

from benchmarks.peers.place import TIMEOUT, WAITS, Place, headers, is_retried

PROCESSES = 12
PLACE = Place.here()
app = Celery("peer", broker=f"{PLACE.redis}/0", backend=f"{PLACE.redis}/1")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=4,
    broker_transport_options={
        "visibility_timeout": 60,
        "unacked_restore_interval": 10,
        "unacked_restore_throttle": 1,
    },
    broker_connection_retry_on_startup=True,
)
session = requests.Session()
session.trust_env = False
session.verify = PLACE.authority


@app.task(bind=True, name="post", max_retries=len(WAITS))
def post(self: Task, key: str, body: str) -> int:
    """Send one lead; return the status."""
    try:
        answer = session.post(PLACE.url, data=body.encode(), headers=headers(key), timeout=TIMEOUT)
    except requests.RequestException as problem:
        raise self.retry(exc=problem, countdown=_wait(self)) from None
    if is_retried(answer.status_code):
        raise self.retry(countdown=_wait(self))
    answer.raise_for_status()
    return answer.status_code


def _wait(task: Task) -> float:
    return WAITS[min(task.request.retries, len(WAITS) - 1)]


def install(place: Place) -> None:
    """Nothing: Redis has no tables."""


def produce(place: Place, leads: list[tuple[str, bytes]]) -> None:
    """Put the leads into the queue, over one connection."""
    with app.producer_pool.acquire(block=True) as producer:
        for key, body in leads:
            post.apply_async((key, body.decode()), producer=producer)


def work(place: Place) -> None:
    """Send what is in the queue."""
    quiet = ["--loglevel", "ERROR", "--without-gossip", "--without-mingle"]
    workers = ["--pool", "prefork", "--concurrency", str(PROCESSES)]
    app.worker_main(["worker", *workers, *quiet])
