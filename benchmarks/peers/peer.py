"""Who takes part, and what is told of each beside its own file."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version


@dataclass(frozen=True, slots=True)
class Peer:
    """
    One way to do the job.

    :param module: its file in this folder
    :param name: what it is called in tables and pictures
    :param packages: whose versions are told
    :param settled: query that counts its leads with an outcome on disk; None where each has a key
        in Redis' second database
    :param share: the part of a trial's leads that it gets, so that a slow one takes no hour
    :param reads: whether its worker finds the leads itself, and nobody puts them into a queue
    """

    module: str
    name: str
    packages: tuple[str, ...]
    settled: str | None = None
    share: float = 1.0
    reads: bool = False

    @property
    def versions(self) -> str:
        """Name what was run."""
        return ", ".join(f"{package} {version(package)}" for package in self.packages)


OURS = Peer(
    "ours",
    "this provider",
    ("airflow-provider-zbl", "psycopg"),
    "SELECT count(*) FROM zbl_delivery WHERE status = 'delivered'",
    reads=True,
)
HANDWRITTEN = Peer(
    "handwritten",
    "hand-written worker, requests",
    ("psycopg", "requests"),
    "SELECT count(*) FROM outbox WHERE status = 'delivered'",
)
CELERY = Peer("celery_requests", "Celery, requests", ("celery", "redis", "requests"), share=0.2)
PEERS = (
    Peer(
        "pgqueuer_aiohttp",
        "PgQueuer, aiohttp",
        ("pgqueuer", "asyncpg", "aiohttp"),
        "SELECT count(*) FROM pgqueuer_log WHERE status = 'successful'",
    ),
    HANDWRITTEN,
    Peer(
        "dramatiq_requests",
        "Dramatiq, requests",
        ("dramatiq", "redis", "requests"),
        share=0.5,
    ),
    Peer(
        "procrastinate_aiohttp",
        "Procrastinate, aiohttp",
        ("procrastinate", "psycopg", "aiohttp"),
        "SELECT count(*) FROM procrastinate_jobs WHERE status = 'succeeded' AND task_name = 'post'",
        share=0.2,
    ),
    CELERY,
)
