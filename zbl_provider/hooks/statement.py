"""What kind of statement leads may be read with (Contract 4.9). Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from zbl_provider.exceptions import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_CHANGES = frozenset({"insert", "update", "delete", "merge", "replace", "truncate"})
_QUERIES = frozenset({"select", "with", "values", "table", "from"})
# They tell of a query; EXPLAIN ANALYZE runs it. MySQL's plan has a column id, which is no lead's.
_TELLS = frozenset({"explain", "describe", "desc"})
# What defines, or begins and ends, gives no rows: DROP TABLE is not to be run to find that out.
_GIVE_NOTHING = frozenset(
    {"create", "alter", "drop", "rename", "grant", "revoke", "begin", "commit", "rollback", "set",
     "use", "lock", "unlock", "copy", "attach", "detach", "vacuum", "reindex"}
)  # fmt: skip
_STREAMED = _QUERIES - {"from"}
_BEFORE_NAME = frozenset({"with", "recursive", ","})  # of a query inside WITH
_BODY = frozenset({"as", "materialized"})  # what stands before a query inside WITH
# Of each dialect what hides words from it: text, names in quotation marks, comments. MySQL's
# comments may begin with #, which in PostgreSQL is the start of an operator.
_TOKENS = r"""{text}
      | "[^"]*"? | `[^`]*`?
      | \$(?P<tag>\w*)\$.*?(?:\$(?P=tag)\$|\Z)
      | --[^\n]* | \#(?![>-])[^\n]*
      | (?P<comment>/\*)
      | (?P<mark>[();,])
      | (?P<word>[A-Za-z_]\w*)"""
_ESCAPED = r"'(?:[^'\\]|\\.|'')*+'?"
# A backslash in a text is one in the SQL standard (LIKE … ESCAPE '\'), and hides the next character
# in MySQL, and behind PostgreSQL's E. Which of them holds, the text of a statement does not tell.
_READINGS = tuple(
    re.compile(_TOKENS.replace("{text}", text), re.VERBOSE | re.DOTALL)
    for text in (rf"(?<!\w)[eE]{_ESCAPED} | '(?:[^']|'')*+'?", _ESCAPED)
)
_DEEPER = {"(": 1, ")": -1}
_COMMENT_MARK = re.compile(r"/\*|\*/")


@dataclass(slots=True)
class _Statement:
    """
    One of the statements of a text, as far as it has been read.

    :param first: its first word, in small letters
    :param depth: how many brackets the first word stands in
    :param main: the word that says what is done; of WITH the one that follows its queries
    :param change: the word of a change of rows in it
    :param keeps_result: whether its rows go into a table or variables: SELECT … INTO
    """

    first: str
    depth: int
    main: str = ""
    change: str = ""
    keeps_result: bool = False

    def __post_init__(self) -> None:
        self.main = "" if self.first == "with" else self.first
        self.change = self.first if self.first in _CHANGES else ""

    @property
    def gives_nothing(self) -> bool:
        """Whether it surely gives no rows, such as SELECT … INTO OUTFILE, which writes them."""
        return self.first in _GIVE_NOTHING or (self.keeps_result and not self.change)

    def names_queries(self, depth: int) -> bool:
        """Tell whether it is before its main word, where a WITH names its queries."""
        return self.first == "with" and not self.main and depth == self.depth

    def read(self, word: str, depth: int, *, begins_body: bool) -> None:
        """Take note of the next word."""
        if depth == self.depth:
            if not self.main and word in _CHANGES | _QUERIES:
                self.main = word
                self.change = self.change or (word if word in _CHANGES else "")
            self.keeps_result = self.keeps_result or word == "into"
        elif not self.main and begins_body and word in _CHANGES:
            self.change = word


def check_statement(sql: object, *, streamed: bool = False) -> None:
    """
    Refuse what is not one query, before it is run.

    :param sql: the statement
    :param streamed: the database reads queries alone through the cursor that streams them
    :raises ConfigurationError: naming sql
    """
    if not isinstance(sql, str):
        raise _refusal(
            f"it is not text, but a {type(sql).__name__}",
            "Give one query as text, or the path of a .sql file",
        )
    if "\0" in sql:
        # psycopg would end the statement there, without what follows: its WHERE, perhaps.
        raise _refusal("it holds a NUL character", "Save the file as UTF-8, or write it again")
    refusals = [_refused(list(_statements(sql, reading)), streamed) for reading in _READINGS]
    if all(refusals):
        raise next(refusal for refusal in refusals if refusal)


def _refused(statements: Sequence[_Statement], streamed: bool) -> ConfigurationError | None:
    """Tell what is wrong with statements; None for nothing."""
    if all(statement.gives_nothing for statement in statements):
        empty = _refusal("it is empty", "Write a query: SELECT id, … FROM …")
        return no_columns() if statements else empty
    if change := next((statement.change for statement in statements if statement.change), ""):
        # Sensors look at a query again and again, and a task that is repeated reads it once more:
        # rows that were marked as taken before their leads are in the delivery log would be lost.
        return _refusal(
            f"it changes rows ({change.upper()})",
            "Select the leads of the last days instead, with SELECT: the delivery log knows "
            "which were sent, and sends none twice",
        )
    first = statements[0].first
    if first in _TELLS:
        return _refusal(
            f"it begins with {first.upper()}, which tells of a query and gives no leads",
            "Write the query alone",
        )
    if streamed and first not in _STREAMED:
        return _refusal(
            f"it begins with {first.upper()}, and PostgreSQL streams a single query alone",
            "Write one SELECT, WITH … SELECT, VALUES or TABLE; for a procedure, use a "
            "function that returns rows: SELECT * FROM …",
        )
    returning_rows = sum(
        statement.first in _QUERIES and not statement.keeps_result for statement in statements
    )
    if returning_rows > 1 or (streamed and len(statements) > 1):
        return _refusal(
            f"it has {len(statements)} statements, and leads are read from one query",
            "Keep one; UNION ALL joins the rows of several",
        )
    return None


def _statements(sql: str, reading: re.Pattern[str]) -> Iterator[_Statement]:
    """Take a text apart into statements; what is in quotation marks or comments has no words."""
    statement: _Statement | None = None
    depth, before, begins_body, at = 0, "", False, 0
    while token := reading.search(sql, at):
        at = token.end()
        if token["comment"]:
            at = _end_of_comment(sql, at)
        elif token["mark"] == ";":
            if statement:
                yield statement
            statement, depth = None, 0
        elif token["mark"]:
            depth += _DEEPER.get(token["mark"], 0)
            begins_body = token["mark"] == "(" and before in _BODY
            before = before if token["mark"] == "(" else token["mark"]
        elif token["word"]:
            word = token["word"].lower()
            if statement is None:
                statement = _Statement(word, depth)
            elif before not in _BEFORE_NAME or not statement.names_queries(depth):
                statement.read(word, depth, begins_body=begins_body)
            before = word
            begins_body = False
    if statement:
        yield statement


def _end_of_comment(sql: str, start: int) -> int:
    """Find where a comment ends: PostgreSQL's may hold others, MySQL's end with the first mark."""
    depth, first_end = 1, 0
    for mark in _COMMENT_MARK.finditer(sql, start):
        depth += 1 if mark[0] == "/*" else -1
        first_end = first_end or (mark.end() if mark[0] == "*/" else 0)
        if not depth:
            return mark.end()
    return first_end or len(sql)


def no_columns() -> ConfigurationError:
    """Refuse a statement that gives no rows (Contract 4.9)."""
    return _refusal("the statement gives no columns", "Write a query: SELECT id, … FROM …")


def _refusal(problem: str, remedy: str) -> ConfigurationError:
    return ConfigurationError(field="sql", problem=problem, remedy=remedy)
