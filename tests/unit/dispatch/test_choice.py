"""Which of a query's rows with one id counts, and what it costs to know (Contract 4.8)."""

import pytest

from zbl_provider.dispatch.choice import Choice
from zbl_provider.exceptions import TemporaryFileError
from zbl_provider.log.model import Candidate, Status


def candidate(lead_id, status=Status.PENDING, reason=None):
    return Candidate(f"msg_{lead_id}", str(lead_id), status, reason, None, "f")


def test_what_does_not_pass_is_given_at_the_end_in_order():
    """Each id once, with its first reason, and none that passed (4.8)."""
    choice = Choice()
    filtered, invalid = Status.FILTERED, Status.INVALID
    assert choice.take([candidate(3, filtered, "a"), candidate(1, filtered, "b")]) == []
    assert choice.take([candidate(2, invalid, "c"), candidate(1), candidate(3, invalid, "d")]) == [
        candidate(1)
    ]
    assert choice.take([candidate(1, invalid, "e"), candidate(1)]) == []
    assert list(choice.rest(1)) == [[candidate(3, filtered, "a")], [candidate(2, invalid, "c")]]
    assert choice.repeated == 4


def test_a_full_disk_is_told_with_what_to_do():
    """Where the ids have no room, no row is judged by half of them (4.8)."""
    choice = Choice()
    choice._database.execute("PRAGMA max_page_count = 10")
    with pytest.raises(TemporaryFileError, match=r"disk is full.* SQLITE_TMPDIR"):
        choice.take([candidate(lead_id) for lead_id in range(10_000)])
