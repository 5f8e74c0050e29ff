"""The leads as CSV, which spreadsheets open without running anything in it."""

from __future__ import annotations

import csv
import io
import re
from typing import TYPE_CHECKING

from zbl_provider.plugin.api.serialize import row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from zbl_provider.log.browse.model import Page

COLUMNS = (
    "lead_id",
    "integration",
    "status",
    "reason",
    "attempts",
    "last_status",
    "last_kind",
    "created_at",
    "updated_at",
    "delivered_at",
    "due_at",
    "dag_id",
    "task_id",
    "run_id",
    "map_index",
    "webhook_id",
)
# A spreadsheet takes a cell that begins so for a formula, some after trimming it of what is blank
# or cannot be seen. Where a semicolon, a tab or what else people choose separates, a cell begins
# after that, too.
_FORMULA = re.compile(
    r"[\s\"\x00-\x1f\x7f-\x9f\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufeff]*"
    r"[=+\-@＝＋－＠\t\r\n]"  # noqa: RUF001  as Excel
)
_SEPARATORS = re.compile(r"([,;|\t\r\n\v\f\x1c-\x1e\x85\u2028\u2029])")


def lines(pages: Callable[[int | None], Page]) -> Iterator[str]:
    """
    Yield the file in pieces, so that no more than one page is in memory.

    The first one has leads already: while the log does not answer there is no file, rather than one
    without a lead.

    :param pages: gives the rows before a number, the newest first
    """
    # Without the mark Excel takes UTF-8 for the character set of the country.
    head = "\ufeff" + _text([COLUMNS])
    before: int | None = None
    while True:
        page = pages(before)
        leads = [row(lead, ()) for lead in page.rows]
        flat = [lead | lead["run"] for lead in leads]
        yield head + _text([harmless(cells[name]) for name in COLUMNS] for cells in flat)
        head = ""
        before = page.next
        if before is None:
            return


def harmless(value: object) -> object:
    """Return a cell that no spreadsheet takes for a formula."""
    if not isinstance(value, str):
        return value
    cells = _SEPARATORS.split(value)
    # Separators stand at the odd places; the first cell is what the whole value begins with.
    cells[::2] = [f"'{cell}" if _FORMULA.match(cell) else cell for cell in cells[::2]]
    text = "".join(cells)
    return f"'{text}" if _FORMULA.match(text) else text


def _text(rows: Iterable[Iterable[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
