"""Rows that were seen are told apart in memory (Contract 4.12)."""

from zbl_provider.dispatch.intake import find
from zbl_provider.dispatch.seen import CountedOnce, Seen

COLUMNS = ("id", "score", "custom_fields")


def news(seen, *rows):
    """Look at rows, and return those that are news."""
    seen.begin()
    kept = [row.values for row in find(((COLUMNS, row) for row in rows), None) if seen.is_news(row)]
    seen.end()
    return kept


def test_only_what_is_new_or_has_changed_is_news():
    """Types count, and so do values that no hash tells apart, such as -1 and -2 (4.12)."""
    seen = Seen()
    rows = [(1, -1, {"a": [1]}), (2, 1, None)]
    assert news(seen, *rows) == rows
    assert news(seen, *rows) == []
    assert news(seen, *reversed(rows)) == []
    assert news(seen, (1, -2, {"a": [1]}), (2, True, None)) == [
        (1, -2, {"a": [1]}),
        (2, True, None),
    ]
    assert news(seen, (1, -2, {"a": [2]})) == [(1, -2, {"a": [2]})]


def test_a_row_whose_bytes_have_changed_is_news():
    """psycopg2 gives bytes as a view, whose text says only where it lies in memory (4.12)."""
    seen = Seen()
    assert len(news(seen, (1, memoryview(b"a"), None))) == 1
    assert news(seen, (1, memoryview(b"a"), None)) == []
    assert len(news(seen, (1, memoryview(b"b"), None))) == 1


def test_a_row_that_was_gone_is_news():
    """Only the last look is remembered (4.12)."""
    seen = Seen()
    assert news(seen, (1, 1, None)) == [(1, 1, None)]
    assert news(seen) == []
    assert news(seen, (1, 1, None)) == [(1, 1, None)]


def test_rows_with_one_id_are_judged_together():
    """A second row of an id whose first was passed over waits for the next look (4.8, 4.12)."""
    seen = Seen()
    first, second = (1, 1, None), (1, 2, None)
    assert news(seen, first) == [first]
    assert news(seen, first, second) == []
    assert news(seen, first, second) == [first, second]
    assert news(seen, second, first) == [second, first]
    assert news(seen, first) == [first]
    assert news(seen, first) == []


def test_rows_without_an_id_are_told_apart_by_what_they_hold():
    """They are recorded as invalid once, and not at each look (4.9, 4.12)."""
    seen = Seen()
    assert news(seen, (None, 1, None), (None, 1, None)) == [(None, 1, None)]
    assert news(seen, (None, 1, None), (None, 2, None)) == [(None, 2, None)]


def test_memory_is_bounded(caplog):
    """What goes beyond is judged at each look, and said once (4.12)."""
    seen = Seen(many=2)
    rows = [(lead_id, 1, None) for lead_id in range(4)]
    assert news(seen, *rows) == rows
    assert news(seen, *rows) == rows[2:]
    assert news(seen, *rows) == rows[2:]
    (told,) = [record.message for record in caplog.records]
    assert told.startswith("The query has more than 2 rows")


def test_nothing_is_known_once_it_is_to_be_judged_anew():
    """As after a change of the filters (5.4, 4.12)."""
    seen = Seen()
    assert news(seen, (1, 1, None)) == [(1, 1, None)]
    seen.forget()
    assert news(seen, (1, 1, None)) == [(1, 1, None)]


def test_what_is_met_again_counts_once():
    """Beyond what is remembered only the first look counts, so that no sum grows with the looks."""
    counted = CountedOnce(many=3)
    counted.add({"a", "b"}, first_look=True)
    counted.add({"c", "d"}, first_look=True)
    assert len(counted) == 4
    for _ in range(2):
        counted.add({"a", "b", "c", "d", "e"}, first_look=False)
    assert len(counted) == 4
    assert len(counted.ids) == 3
