"""
Dramatiq on Redis with requests: acknowledged late, as it always does, with its retries and results.

One process with 16 threads; a second process was no faster beside the receiver on two cores.
"""

from __future__ import annotations

import threading

import dramatiq
import requests
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from benchmarks.peers.place import THREADS, TIMEOUT, WAITS, Place, headers, is_retried

PLACE = Place.here()
broker = RedisBroker(url=f"{PLACE.redis}/0")
broker.add_middleware(Results(backend=RedisBackend(url=f"{PLACE.redis}/1")))
dramatiq.set_broker(broker)
_threads = threading.local()


def _session() -> requests.Session:
    if not hasattr(_threads, "session"):
        _threads.session = requests.Session()
        _threads.session.trust_env = False
        _threads.session.verify = PLACE.authority
    return _threads.session


@dramatiq.actor(max_retries=len(WAITS), store_results=True, throws=requests.HTTPError)
def post(key: str, body: str) -> int:
    """Send one lead; return the status."""
    message = dramatiq.middleware.CurrentMessage.get_current_message()
    made = message.options.get("retries", 0) if message else 0
    wait = WAITS[min(made, len(WAITS) - 1)] * 1000
    try:
        answer = _session().post(
            PLACE.url, data=body.encode(), headers=headers(key), timeout=TIMEOUT
        )
    except requests.RequestException as problem:
        raise dramatiq.errors.Retry(repr(problem), delay=wait) from None
    if is_retried(answer.status_code):
        raise dramatiq.errors.Retry(str(answer.status_code), delay=wait)
    answer.raise_for_status()
    return answer.status_code


broker.add_middleware(dramatiq.middleware.CurrentMessage())


def install(place: Place) -> None:
    """Nothing: Redis has no tables."""


def produce(place: Place, leads: list[tuple[str, bytes]]) -> None:
    """Put the leads into the queue."""
    for key, body in leads:
        post.send(key, body.decode())


def work(place: Place) -> None:
    """Send what is in the queue."""
    dramatiq.Worker(broker, worker_threads=THREADS).start()
    threading.Event().wait()
