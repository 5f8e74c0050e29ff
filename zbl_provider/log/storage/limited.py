"""
A connection to PostgreSQL that waits for an answer a bounded time.

The server's own limits end a statement that is slow. A server that is frozen, or a network that
swallows everything, ends nothing: the client has to (Contract 7.5).
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psycopg

if TYPE_CHECKING:
    from collections.abc import Generator

_NOTHING_YET = 0  # what psycopg tells a generator at each look, ten times a second


class LimitedConnection(psycopg.Connection[Any]):
    """A connection that is closed, with an OperationalError, when its server is silent."""

    limit_seconds = 0.0

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  psycopg
        """Drive one exchange with the server."""

        def limited() -> Generator[Any, Any, Any]:
            until = time.monotonic() + self.limit_seconds
            try:
                wanted = next(gen)
                while True:
                    ready = yield wanted
                    if ready == _NOTHING_YET and time.monotonic() > until:
                        # What arrives later must not be taken for the answer to another statement.
                        self.pgconn.finish()
                        raise psycopg.OperationalError("the server does not answer")
                    wanted = gen.send(ready)
            except StopIteration as ended:
                return ended.value

        return super().wait(limited(), *args, **kwargs)


def connect(limit_seconds: float, *arguments: Any, **options: Any) -> LimitedConnection:
    """
    Return a new connection.

    :param limit_seconds: how long it waits for the answer to one statement
    :param arguments: as psycopg takes them, with the next
    :param options: `connect_timeout` limits the connecting itself
    """
    connection = LimitedConnection.connect(*arguments, **options)
    connection.limit_seconds = limit_seconds
    return connection
