"""What kind of statement leads may be read with (Contract 4.9). Pure."""

from __future__ import annotations

import re
from typing import NoReturn

from zbl_provider.exceptions import ConfigurationError

_BEFORE = re.compile(r"(?:\s|\(|;|--[^\n]*(?:\n|$)|\#[^\n]*(?:\n|$)|/\*.*?\*/)*", re.DOTALL)
_WORD = re.compile(r"[A-Za-z]+")
_CHANGES = frozenset({"insert", "update", "delete", "merge", "replace"})
_STREAMED = frozenset({"select", "with", "values", "table"})


def check_statement(sql: object, *, streamed: bool = False) -> None:
    """
    Refuse what is no query, before it is run.

    :param sql: the statement
    :param streamed: the database reads queries alone through the cursor that streams them
    :raises ConfigurationError: naming sql
    """
    if not isinstance(sql, str):
        raise ConfigurationError(
            field="sql",
            problem=f"it is not text, but a {type(sql).__name__}",
            remedy="Give one query as text, or the path of a .sql file",
        )
    start = _BEFORE.match(sql)
    word = _WORD.match(sql, start.end() if start else 0)
    first = word[0] if word else ""
    if first.lower() in _CHANGES:
        refuse_change(first.upper())
    if streamed and first and first.lower() not in _STREAMED:
        raise ConfigurationError(
            field="sql",
            problem=f"it begins with {first.upper()}, and PostgreSQL streams a single query alone",
            remedy="Write one SELECT, WITH … SELECT, VALUES or TABLE; for a procedure, use a "
            "function that returns rows: SELECT * FROM …",
        )


def refuse_change(statement: str) -> NoReturn:
    """
    Refuse a statement that changes rows, such as the claim-rows pattern.

    Sensors look at a query again and again, and a task that is repeated reads it once more: rows
    that were marked as taken before their leads are in the delivery log would be lost.
    """
    raise ConfigurationError(
        field="sql",
        problem=f"it changes rows ({statement})",
        remedy="Select the leads of the last days instead, with SELECT: the delivery log knows "
        "which were sent, and sends none twice",
    )
