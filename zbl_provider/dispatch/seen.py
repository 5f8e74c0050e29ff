"""Rows that a task has seen before, told apart in memory (Contract 4.12)."""

from __future__ import annotations

import logging
from hashlib import blake2b
from threading import Lock
from typing import TYPE_CHECKING

from zbl_provider.dispatch.intake import row_text

if TYPE_CHECKING:
    from collections.abc import Collection

    from zbl_provider.dispatch.intake import FoundRow

logger = logging.getLogger(__name__)

MANY = 100_000
"""Rows of a look that are remembered, which takes some 40 MB; the log is asked for the others."""


class Seen:
    """
    The rows of the last look, by their ids: a row that is as it was then needs no more work.

    If a look has several rows with one id, none of them is passed over: which one counts is known
    only when all are judged (Contract 4.8).

    :param many: how many rows are remembered
    """

    def __init__(self, many: int = MANY) -> None:
        self._many = many
        self._before: dict[str | bytes, bytes] = {}
        self._now: dict[str | bytes, bytes] = {}
        self._repeated_before: set[str | bytes] = set()
        self._repeated: set[str | bytes] = set()
        self._told = False

    def begin(self) -> None:
        """Begin a look; what was seen in one that did not come to its end is forgotten."""
        self._now, self._repeated = {}, set()

    def end(self) -> None:
        """End a look: from now on its rows are known."""
        self._before, self._repeated_before = self._now, self._repeated

    def forget(self) -> None:
        """Know no row any more, as when other filters are to judge them."""
        self._before = {}

    def is_news(self, row: FoundRow) -> bool:
        """
        Tell whether a row is new or has changed, so that it is to be judged.

        :param row: the next row of this look
        """
        text = row_text(row.values).encode("utf-8", "backslashreplace")
        digest = blake2b(text, digest_size=16).digest()
        key = digest if row.id is None else row.id
        if key in self._now:
            if row.id is None:
                return False  # nothing tells it from the row before
            self._repeated.add(key)
            # Where the row before was passed over, both are judged together in the next look.
            return key in self._repeated_before or self._before.get(key) != self._now[key]
        if len(self._now) == self._many:
            self._tell()
            return True
        self._now[key] = digest
        return key in self._repeated_before or self._before.get(key) != digest

    def _tell(self) -> None:
        if not self._told:
            self._told = True
            logger.warning(
                "The query has more than %d rows, and the delivery log is asked for those beyond "
                "at each look: have it look back less far.",
                self._many,
            )


class CountedOnce:
    """
    Counts leads by their webhook ids, each once, however many looks find it; from any thread.

    :param many: how many ids are remembered; further ones are counted at the first look alone
    """

    def __init__(self, many: int = MANY) -> None:
        self._many = many
        self._lock = Lock()
        self._more = 0
        self.ids: set[str] = set()

    def __len__(self) -> int:
        """How many there are."""
        return len(self.ids) + self._more

    def add(self, ids: Collection[str], *, first_look: bool) -> None:
        """
        Count leads that were met.

        :param ids: of a part of a look, each once
        :param first_look: nothing was met at a look before
        """
        with self._lock:
            new = [webhook_id for webhook_id in ids if webhook_id not in self.ids]
            room = self._many - len(self.ids)
            self.ids.update(new[:room])
            self._more += len(new[room:]) if first_look else 0
