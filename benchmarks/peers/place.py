"""Where a peer works: the receiver, its databases, and the leads that it is to send."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass

VARIABLE = "BENCHMARK_PLACE"
IN_FLIGHT = 64  # requests at once, of those that send from an event loop
THREADS = 16  # of those that send from threads
WAITS = (60, 300, 900, 1800)  # seconds to the second, third, fourth and fifth attempt
TIMEOUT = 10  # seconds


@dataclass(frozen=True, slots=True)
class Place:
    """
    What a peer is told.

    :param url: the receiver, over TLS
    :param authority: path of its CA
    :param leads: path of the SQLite database of leads
    :param postgres: an empty PostgreSQL database, as libpq's URL
    :param redis: a Redis without a key, as a URL without the number of its database
    """

    url: str
    authority: str
    leads: str
    postgres: str
    redis: str

    def environment(self) -> dict[str, str]:
        """Return what tells a process of its place."""
        return {VARIABLE: json.dumps(asdict(self))}

    @classmethod
    def here(cls) -> Place:
        """Return the place of this process."""
        return cls(**json.loads(os.environ[VARIABLE]))


def headers(lead_id: str) -> dict[str, str]:
    """Return the headers of a lead's request."""
    return {"Content-Type": "application/json", "webhook-id": lead_id}


def is_retried(status: int) -> bool:
    """Tell whether a lead with this answer is sent again."""
    return status >= 500
