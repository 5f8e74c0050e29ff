"""
What may be said of a database's error.

Drivers quote what they complain of: a bound parameter, a field of a row, a whole row in DETAIL.
That is a lead's data, and belongs in no log (Contract 4.3). What stays of an error is its class and
code, and of its first line the words that are known to be a database's own, or that stand in the
statement.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"(?:\w|[^ -~\s])+")
_HIDDEN = "…"
_GAPS = re.compile(r"…(?:[^\w.:;,]*…)+")
_SQLSTATE = re.compile(r"(?=\w*\d)[0-9A-Z]{5}")
_LONGEST = 300

_OWN_WORDS = frozenset(
    _WORD.findall(
        """
        a abort aborted access accessible account active address after aggregate alias aliased
        all already ambiguous an and any are argument arguments array as at attempt
        authentication aware back bad be before begin bigint binary bind binding bindings blob
        block boolean bound broken but by bytes call called can cancel canceled cancelled cannot
        cast catalog certificate change changed char character characters check clause client
        close closed code coerce coerced collation column columns command commit comparison
        compilation conflict connect connecting connection connections constraint contain
        contains conversion convert converting cost could create current cursor cycle data
        database datatype date datetime deadlock decimal decode default delete denied deprecated
        depth detected did different directory disconnected disk division do does domain double
        due duplicate during empty encode encoding end enough eof error errors escape exceed
        exceeded exceeds execute execution exist existing exists exit expected expecting
        explicit expression failed fails failure fatal feature fetch few field fields file find
        float for foreign format found from full function functions given granted group has have
        here host identifier ids in incorrect index input insert insufficient integer interface
        internal interrupted invalid io is join json key keyword large left length level like
        limit line list local lock locked lost malformed many match matches maximum memory
        message misplaced missing mode must name named names near need nested network next no
        none not null number numeric object of off offset on only open opened operand operation
        operator operators option or order out outside overflow oversized own package parameter
        parameters parse parser parsing password permission placeholder placeholders port
        position prepare prepared privilege privileges procedure protocol provided query quota
        range reached read read_only readonly recognized recovery recursive reference referenced
        references refused relation released request require required reset resource resources
        result results retry returned right role rollback rolled row rows running schema scheme
        select serialize server session set shut shutdown shutting side size snapshot source sql
        ssl standby starting state statement string subquery such supplied support supported
        syntax system table tables temporary terminated terminating text than that the there
        this time timed timeout timestamp to token tokens too transaction trigger truncated try
        type types unable undefined unexpected unicode unique unknown unrecognized unsupported
        unterminated up update use used user uses using utf utf8 valid value values varchar
        variable version view violates violation wait waiting warehouse was were when where
        which while window with within without wrong year zero zone
        """
    )
)


def told(problem: BaseException, statement: str) -> str:
    """
    Say what a driver's error is, without a value.

    :param problem: what the driver raised
    :param statement: the SQL it was about; its words may be shown
    :return: class, code, and the first line with everything hidden that might be data
    """
    state = sqlstate(problem)
    code = f" (SQLSTATE {state})" if state else ""
    return f"{type(problem).__name__}{code}: {_first_line(problem, statement)}"


def sqlstate(problem: BaseException) -> str | None:
    """Return the five characters that the SQL standard has for the kind of an error, if given."""
    first = problem.args[0] if len(problem.args) > 1 else None
    for state in (getattr(problem, "sqlstate", None), getattr(problem, "pgcode", None), first):
        if isinstance(state, str) and _SQLSTATE.fullmatch(state):
            return state
    return None


def _first_line(problem: BaseException, statement: str) -> str:
    known = {word.lower() for word in _WORD.findall(statement)} | _OWN_WORDS
    line = str(problem).strip().partition("\n")[0][:_LONGEST]
    shown = _WORD.sub(lambda word: word[0] if word[0].lower() in known else _HIDDEN, line)
    return _GAPS.sub(_HIDDEN, shown).rstrip(". ")
