"""
What a log may say of a database's error.

Drivers quote what they complain about: a bound parameter, a field of a row, a whole row in DETAIL.
That is a lead's data, and belongs in no log (Contract 4.3). So only an error's class and code are
kept, and its first line without values: quoted text that is not in the statement is replaced, and
so are e-mail addresses, long numbers and what follows "value:". A value may hold quotation marks
itself, and no database escapes them: it ends with the last one. If a function of the database
raises an error in its own words, they cannot be told from a value, and none is kept. Before the
database is connected no row has been read, so that error is told whole, except for passwords.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_HIDDEN = "…"
_SQLSTATE = re.compile(r"(?=\w*\d)[0-9A-Z]{5}")
_LONGEST, _LONGEST_WHOLE, _LONGEST_LINE = 300, 1000, 2000
# RAISE of PL/pgSQL, SIGNAL of MySQL (1644 where a client gives no state).
_RAISED, _SIGNALLED = frozenset({"P0001", "45000"}), 1644
_QUOTES = "'\"`"
# An apostrophe between letters does not end a quotation: doesn't, O'Brien.
_QUOTED = re.compile(r"""(?<!\w)'(?:.*?)'(?!\w)|"(?:.*?)"|`(?:.*?)`""")
_LOOSE_QUOTE = re.compile(r"""(?<!\w)'|'(?!\w)|["`]""")
_EMAIL = re.compile(r"[^\s'\"`<>()]+@[^\s'\"`<>()]+")
_LONG_NUMBER = re.compile(r"\d[\d ().-]{3,}\d")
_UNQUOTED_VALUE = re.compile(
    r"(?i)(\b(?:value|text|string|key|json|date|time|timestamp)\b\s*[:=]\s*)(?![\s'\"`…]).*"
)
# Of RE2, DuckDB's: a pattern that is not one stands behind what is wrong with it.
_BAD_PATTERN = re.compile(
    r"((?:missing|unexpected) [][()]|repetition operator|escape sequence|character class range"
    r"|character range|capture group|trailing \\|UTF-8): .*"
)
_RAISES = re.compile(r"(?i)\berror\s*\(")  # DuckDB's function, which says what it is given
_OF_STATEMENT = re.compile(r"\n+LINE \d+: ")
_IN_URL = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")
_PASSWORD = re.compile(r"(?i)\b(password|passwd|pwd|secret|token)(\s*[=:]\s*)[^\s;,&]+")
# Quoted words that are a database's own.
_OWN = frozenset(
    {"field list", "where clause", "on clause", "order clause", "group statement", "having clause"}
)
# Errors about a table or column that does not exist, or may not be read, and about a constraint:
# they quote names alone.
_OF_NAMES = frozenset(
    {"42P01", "42703", "42S02", "42S22", 1146, 1054, 1142, 1143}
    | {"23502", "23503", "23505", "23514"}
    | {"BinderException", "CatalogException", "ParserException"}  # DuckDB's, without codes
)


def told(problem: BaseException, statement: str) -> str:
    """
    Say what a driver's error is, without any value.

    :param problem: what the driver raised
    :param statement: the SQL it was about; its words may be shown
    :return: its class, its code, and its first line, in which all that may be data is hidden
    """
    raises = sqlstate(problem) in _RAISED or _errno(problem) == _SIGNALLED
    if raises or (not has_code(problem) and _RAISES.search(statement)):
        return f"{_class(problem)}: raised by a function of the database, in words of its own"
    kinds = {sqlstate(problem), _errno(problem), type(problem).__name__}
    quotes_names = not kinds.isdisjoint(_OF_NAMES)

    def shown(quoted: re.Match[str]) -> str:
        text, mark = quoted[0][1:-1], quoted[0][0]
        # A database may put its schema's name before a table's: the last part is the query's.
        last = text.rpartition(".")[2]
        if text.lower() in _OWN or _is_in(statement, last if quotes_names else text):
            return quoted[0]
        # What stands before the last part may be a value.
        return f"{mark}{last if _is_in(statement, last) else _HIDDEN}{mark}"

    line, _, more = _primary(problem).partition("\n")
    if len(line) > _LONGEST_LINE:  # the patterns would look at a value of a megabyte for hours
        line, more = line[:_LONGEST_LINE], line[_LONGEST_LINE:]
    text = _QUOTED.sub(shown, line)
    marks = list(_LOOSE_QUOTE.finditer(line))
    quotations = list(_QUOTED.finditer(line))
    if _LOOSE_QUOTE.search(_QUOTED.sub("", line)):
        # A quotation mark without its partner: nobody knows which text is quoted.
        text = line[: marks[0].start()] + _HIDDEN
    elif quotations and not quotes_names and (len(quotations) > 1 or text != line or more):
        # A value that may hold marks of its own, and go on in another line.
        mark = quotations[0][0][0]
        end = line[marks[-1].end() :] if not more else ""
        text = f"{line[: quotations[0].start()]}{mark}{_HIDDEN}{mark}{end}"
    text = _EMAIL.sub(_HIDDEN, text)
    text = _UNQUOTED_VALUE.sub(rf"\g<1>{_HIDDEN}", text)
    text = _BAD_PATTERN.sub(rf"\g<1>: {_HIDDEN}", text)
    text = _LONG_NUMBER.sub(lambda digits: digits[0] if digits[0] in statement else _HIDDEN, text)
    return f"{_class(problem)}: {text[:_LONGEST].rstrip('. ')}"


def _is_in(statement: str, name: str) -> bool:
    """Tell whether a name stands in a statement, in whatever case, and not within a longer word."""
    name = name.lower()
    before, after = (r"\b" if re.match(r"\w", end) else "" for end in (name[:1], name[-1:]))
    pattern = f"{before}{re.escape(name)}{after}"
    return name != "" and re.search(pattern, statement.lower()) is not None


def told_whole(problem: BaseException, secrets: Iterable[str] = ()) -> str:
    """
    Say what a driver's error is, when no row can have been read yet.

    :param problem: what the driver raised while it connected
    :param secrets: texts that are hidden wherever they stand
    """
    text = " ".join(_message(problem).split())
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "***")
    text = _PASSWORD.sub(r"\1\2***", _IN_URL.sub(r"\1***@", text))
    return f"{_class(problem)}: {text[:_LONGEST_WHOLE].rstrip('. ')}"


def sqlstate(problem: BaseException) -> str | None:
    """Return the five characters that the SQL standard has for the kind of an error, if given."""
    first = problem.args[0] if len(problem.args) > 1 else None
    for state in (getattr(problem, "sqlstate", None), getattr(problem, "pgcode", None), first):
        if isinstance(state, str) and _SQLSTATE.fullmatch(state):
            return state
    return None


def has_code(problem: BaseException) -> bool:
    """Tell whether an error has a code, as a server's has; a driver's own has none."""
    return sqlstate(problem) is not None or _errno(problem) > 0


def _errno(problem: BaseException) -> int:
    first = problem.args[0] if len(problem.args) > 1 else None
    return next((n for n in (first, getattr(problem, "errno", None)) if type(n) is int), 0)


def _class(problem: BaseException) -> str:
    errno, state = _errno(problem), sqlstate(problem)
    codes = [*([str(errno)] if errno > 0 else []), *([f"SQLSTATE {state}"] if state else [])]
    return type(problem).__name__ + (f" ({', '.join(codes)})" if codes else "")


def _primary(problem: BaseException) -> str:
    """Return the message without what PostgreSQL and DuckDB say of the statement behind it."""
    primary = getattr(getattr(problem, "diag", None), "message_primary", None)
    if isinstance(primary, str) and primary:
        return primary.strip()
    text = _message(problem)
    ends = [section.start() for section in _OF_STATEMENT.finditer(text)]
    return text[: ends[-1]] if ends else text


def _message(problem: BaseException) -> str:
    """Return the text alone; drivers of MySQL and ODBC give their code beside it."""
    text = getattr(problem, "msg", None)  # mysql-connector's str() begins with its codes
    if isinstance(text, str) and text and getattr(problem, "errno", None):
        return text.strip()
    match problem.args:
        case (int() | str(), str(text)):
            return text.strip()
    return str(problem).strip()
