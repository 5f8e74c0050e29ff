"""Of the rows of one query that have one id, the one that counts (Contract 4.8)."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

import orjson

from zbl_provider.exceptions import TemporaryFileError
from zbl_provider.log.model import Candidate, Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_TABLES = """
    CREATE TABLE seen (lead_id TEXT PRIMARY KEY, place INTEGER) WITHOUT ROWID;
    CREATE TABLE kept (place INTEGER PRIMARY KEY, webhook_id, lead_id, status, reason, fingerprint);
"""
_PLACES = "SELECT lead_id, place FROM seen WHERE lead_id IN (SELECT value FROM json_each(?))"
_SENT = "INSERT OR REPLACE INTO seen SELECT value, NULL FROM json_each(?)"


class Choice:
    """
    Chooses among the candidates of one query: the first that is to be sent, wherever it stands.

    Without one, the first counts; that is known only at the query's end, so candidates that are not
    to be sent are kept until then. They, and the ids, rest in a private SQLite database, which
    moves to a temporary file as it grows: a query of any size takes some megabytes of memory.

    :ivar repeated: candidates whose id had been there before
    """

    def __init__(self) -> None:
        # With this name SQLite makes a file that no other process can open, and that ends with us.
        # Threads take turns with it, and never share it.
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.executescript(_TABLES)
        self._last = 0
        self.repeated = 0

    def take(self, candidates: Sequence[Candidate]) -> list[Candidate]:
        """
        Look at the query's next candidates.

        :param candidates: in the query's order
        :return: those that are to be sent, each id once in the whole query
        :raises TemporaryFileError: if there is no room for the ids
        """
        with _told():
            # Where an id's candidate is kept; None once one that is to be sent was returned.
            ids = orjson.dumps([candidate.lead_id for candidate in candidates]).decode()
            places: dict[str, int | None] = dict(self._database.execute(_PLACES, (ids,)))
            first: list[Candidate] = []
            kept: dict[int, Candidate] = {}
            overtaken: list[int] = []
            changed: dict[str, int | None] = {}
            for candidate in candidates:
                lead_id = candidate.lead_id
                repeats = lead_id in places
                self.repeated += repeats
                if candidate.status is Status.PENDING:
                    place = places.get(lead_id)
                    if repeats and place is None:
                        continue
                    if place is not None and not kept.pop(place, None):
                        overtaken.append(place)
                    first.append(candidate)
                    places[lead_id] = changed[lead_id] = None
                elif not repeats:
                    self._last += 1
                    kept[self._last] = candidate
                    places[lead_id] = changed[lead_id] = self._last
            self._remember(changed, kept, overtaken)
        return first

    def pass_over(self, lead_ids: Sequence[str]) -> int:
        """
        Look at ids whose rows are of no interest, as what is delivered is not sent again.

        :param lead_ids: in the query's order
        :return: how many of them had not been there before
        :raises TemporaryFileError: as `take`
        """
        with _told():
            statement = "INSERT OR IGNORE INTO seen SELECT value, NULL FROM json_each(?)"
            ids = orjson.dumps(lead_ids).decode()
            new = self._database.execute(statement, (ids,)).rowcount
        self.repeated += len(lead_ids) - new
        return new

    def rest(self, size: int) -> Iterator[list[Candidate]]:
        """
        Give the candidates of ids that have none to be sent, once there are no more to take.

        :param size: how many at once
        :return: lists, in the query's order
        :raises TemporaryFileError: as `take`
        """
        query = "SELECT webhook_id, lead_id, status, reason, fingerprint FROM kept ORDER BY place"
        with _told():
            cursor = self._database.execute(query)
        while rows := cursor.fetchmany(size):
            yield [
                Candidate(webhook_id, lead_id, Status(status), reason, None, fingerprint)
                for webhook_id, lead_id, status, reason, fingerprint in rows
            ]

    def close(self) -> None:
        """Remove the database."""
        self._database.close()

    def _remember(
        self,
        changed: dict[str, int | None],
        kept: dict[int, Candidate],
        overtaken: Sequence[int],
    ) -> None:
        # One statement for nearly all: each row of executemany lets go of Python's lock.
        sent = orjson.dumps([lead_id for lead_id, place in changed.items() if place is None])
        self._database.execute(_SENT, (sent.decode(),))
        places = [pair for pair in changed.items() if pair[1] is not None]
        self._database.executemany("INSERT OR REPLACE INTO seen VALUES (?, ?)", places)
        self._database.executemany(
            "INSERT INTO kept VALUES (?, ?, ?, ?, ?, ?)",
            (
                (
                    place,
                    lead.webhook_id,
                    lead.lead_id,
                    lead.status.value,
                    lead.reason,
                    lead.fingerprint,
                )
                for place, lead in kept.items()
            ),
        )
        self._database.executemany(
            "DELETE FROM kept WHERE place = ?", ((place,) for place in overtaken)
        )


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError as problem:
        raise TemporaryFileError(str(problem)) from None
