"""The tables of types in docs/databases.md, drawn by the tests (`TYPES=1` draws them anew)."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from zbl_provider.dispatch.intake import Unreadable, read
from zbl_provider.hooks.rows import Rows

if TYPE_CHECKING:
    from collections.abc import Iterable

PAGE = Path(__file__).parents[2] / "docs" / "databases.md"
HEAD = "| value of the database | in the payload |\n|---|---|\n"


def check(name: str, connection: str, values: Iterable[str]) -> None:
    """
    Read each value as a custom field, and compare what it becomes with the page's table.

    :param name: of the table in the page
    :param connection: id of the database's connection
    :param values: expressions of its SQL
    """
    lines = "".join(_line(connection, value) for value in values)
    place = re.compile(rf"(<!-- types: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
    drawn, count = place.subn(
        lambda match: f"{match[1]}{HEAD}{lines}{match[2]}", PAGE.read_text(encoding="utf-8")
    )
    assert count == 1, f"{PAGE} has no place for the types of {name}"
    if os.environ.get("TYPES"):
        PAGE.write_text(drawn, encoding="utf-8")
    assert PAGE.read_text(encoding="utf-8") == drawn


def _line(connection: str, value: str) -> str:
    [lead] = read(Rows(connection, f"SELECT 1 AS id, {value} AS value"), None)
    if isinstance(lead, Unreadable):
        became = "invalid"
    else:
        became = f"`{json.dumps(lead.custom_fields['value'], ensure_ascii=False)}`"
    return f"| `{value}` | {became} |\n"
