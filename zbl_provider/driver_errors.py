"""
What may be said of a database's error.

Drivers quote what they complain of: a bound parameter, a field of a row, a whole row in DETAIL.
That is a lead's data, and belongs in no log (Contract 4.3). So what stays of an error is its class
and code, and of its first line all that is not a value: quoted text that does not stand in the
statement is replaced, and so are e-mail addresses, long numbers and what follows "value:". Where a
function of the database raises an error in words of its own, nobody can tell them from a value.
Before a database is connected no row has been read, and its error is told whole, but for passwords.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

_HIDDEN = "…"
_SQLSTATE = re.compile(r"(?=\w*\d)[0-9A-Z]{5}")
_LONGEST, _LONGEST_WHOLE = 300, 1000
# RAISE of PL/pgSQL, SIGNAL of MySQL (1644 where a client gives no state).
_RAISED, _SIGNALLED = frozenset({"P0001", "45000"}), 1644
_QUOTES = "'\"`"
# An apostrophe between letters ends no quotation: doesn't, O'Brien.
_QUOTED = re.compile(r"""(?<!\w)'(?:.*?)'(?!\w)|"(?:.*?)"|`(?:.*?)`""")
_LOOSE_QUOTE = re.compile(r"""(?<!\w)'|'(?!\w)|["`]""")
_EMAIL = re.compile(r"[^\s'\"`<>()]+@[^\s'\"`<>()]+")
_LONG_NUMBER = re.compile(r"\d[\d ().-]{3,}\d")
_UNQUOTED_VALUE = re.compile(
    r"(?i)(\b(?:value|text|string|key|json|date|time|timestamp)\b\s*[:=]\s*)(?![\s'\"`…]).*"
)
_IN_URL = re.compile(r"(://[^\s/:@]*:)[^\s/@]+@")
_PASSWORD = re.compile(r"(?i)\b(password|passwd|pwd|secret|token)(\s*[=:]\s*)[^\s;,&]+")
# Words in quotation marks that are a database's own.
_OWN = frozenset(
    {"field list", "where clause", "on clause", "order clause", "group statement", "having clause"}
)


# Of tables and columns that there are not: they quote names alone.
_OF_NAMES = frozenset({"42P01", "42703", "42S02", "42S22", 1146, 1054})


def told(problem: BaseException, statement: str) -> str:
    """
    Say what a driver's error is, without a value.

    :param problem: what the driver raised
    :param statement: the SQL it was about; its words may be shown
    :return: class, code, and the first line with everything hidden that might be data
    """
    if sqlstate(problem) in _RAISED or _errno(problem) == _SIGNALLED:
        return f"{_class(problem)}: raised by a function of the database, in words of its own"
    own = statement.lower()

    is_of_names = sqlstate(problem) in _OF_NAMES or _errno(problem) in _OF_NAMES

    def shown(quoted: re.Match[str]) -> str:
        text, mark = quoted[0][1:-1], quoted[0][0]
        # A database puts the names of its schema before a table's: the last part is the query's.
        last = text.lower().rpartition(".")[2]
        whole = text.lower() if not is_of_names else last
        for name in (whole, last):
            # Of the statement's own, and no part of a longer word of it.
            ends = (name[:1], name[-1:])
            before, after = (r"\b" if end.isalnum() or end == "_" else "" for end in ends)
            if name and re.search(f"{before}{re.escape(name)}{after}", own):
                # What stands before the last part may be a value, where values are quoted at all.
                return f"{mark}{text if name == whole else text[-len(name) :]}{mark}"
        return quoted[0] if text.lower() in _OWN else f"{mark}{_HIDDEN}{mark}"

    line = _message(problem).partition("\n")[0]
    text = _QUOTED.sub(shown, line)
    rest = _QUOTED.sub("", line)
    if _LOOSE_QUOTE.search(rest) and (first := _LOOSE_QUOTE.search(line)):
        # One without its other half: nobody knows which text is quoted.
        text = line[: first.start()] + _HIDDEN
    text = _EMAIL.sub(_HIDDEN, text)
    text = _UNQUOTED_VALUE.sub(rf"\g<1>{_HIDDEN}", text)
    text = _LONG_NUMBER.sub(lambda digits: digits[0] if digits[0] in statement else _HIDDEN, text)
    return f"{_class(problem)}: {text[:_LONGEST].rstrip('. ')}"


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


def _message(problem: BaseException) -> str:
    """Return the text alone; drivers of MySQL and ODBC give their code beside it."""
    text = getattr(problem, "msg", None)  # mysql-connector's str() begins with its codes
    if isinstance(text, str) and text and getattr(problem, "errno", None):
        return text.strip()
    match problem.args:
        case (int() | str(), str(text)):
            return text.strip()
    return str(problem).strip()
