"""
The sandbox in which expressions run, and the filters that they may use (Contract 2.7).

Jinja's own sandbox bounds what an expression can reach; this one bounds what each step costs, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import orjson
from jinja2 import StrictUndefined, Undefined
from jinja2.sandbox import ImmutableSandboxedEnvironment

if TYPE_CHECKING:
    from collections.abc import Callable

    from jinja2.runtime import Context

MAX_TEXT_CHARS: Final = 1_048_576
"""Of each text on the way, and of all that is rendered: a larger body could not be sent."""

METHODS: Final = frozenset({"split", "strip", "lower", "upper", "title", "startswith", "endswith"})
"""What may be called of a text."""

SLICE: Final = "_slice"
"""The filter that slices are compiled to: Python's own do not know null."""

_NUMERIC_OPERATORS: Final = frozenset({"-", "*", "/", "//", "%"})
_MAX_DIGITS: Final = 15
# Of Jinja's own filters those whose cost is known.
_PLAIN: Final = ("abs", "capitalize", "float", "int", "length", "lower", "title", "trim", "upper",
                 "urlencode")  # fmt: skip


class Sandbox(ImmutableSandboxedEnvironment):
    """Reads data, and no attribute of Python's but a few methods of texts."""

    intercepted_binops = _NUMERIC_OPERATORS | {"+"}

    def __init__(self) -> None:
        # Nothing is worked out ahead of time: what constants cost must be bounded as well.
        super().__init__(
            undefined=StrictUndefined, autoescape=False, optimized=False, keep_trailing_newline=True
        )
        self.globals.clear()
        bounded: dict[str, Callable[..., Any]] = {
            "first": lambda value: next(iter(value), None),
            "last": lambda value: value[-1] if value else None,
            "join": join,
            "replace": replace,
            "round": rounded,
            SLICE: lambda value, *ends: value[slice(*ends)],
            **{name: self.filters[name] for name in _PLAIN},
        }
        self.filters = {
            **{name: _bounded(function) for name, function in bounded.items()},
            "default": default,
            "string": in_text,
            "tojson": tojson,
        }

    def getattr(self, obj: Any, attribute: str) -> Any:
        """Look up a key, or one of the methods of a text."""
        if isinstance(obj, str) and attribute in METHODS:
            return getattr(obj, attribute)
        return self.getitem(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """Look up a key or a position; the result is unknown if the object is."""
        if obj is None:  # such as `list.name` of a lead without a list
            return None
        if isinstance(obj, dict | list | tuple | str):
            try:
                return obj[argument]
            except (LookupError, TypeError):
                pass
        return self.undefined(obj=obj, name=str(argument))

    def call(self, context: Context, obj: Any, /, *arguments: Any, **options: Any) -> Any:
        """Call a text's method; the result is unknown if the text is."""
        return None if obj is None else super().call(context, obj, *arguments, **options)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """Calculate with numbers, and join texts or lists, within what could be sent."""
        if operator == "+" and type(left) is type(right) and isinstance(left, str | list):
            check_size(len(left) + len(right))
        elif not (isinstance(left, int | float) and isinstance(right, int | float)):
            raise TypeError(operator)
        return super().call_binop(context, operator, left, right)


def check_size(length: int) -> None:
    """
    Refuse a text that could not be sent.

    :raises ValueError: if it is longer
    """
    if length > MAX_TEXT_CHARS:
        raise ValueError


def _bounded(function: Callable[..., Any]) -> Callable[..., Any]:
    """Keep each step's text within what could be sent, so that steps cannot multiply it."""

    def limited(value: Any, *arguments: Any, **options: Any) -> Any:
        if value is None:  # what is unknown stays so: Jinja would write "NONE"
            return None
        result = function(value, *arguments, **options)
        if isinstance(result, str):
            check_size(len(result))
        return result

    return limited


def in_text(value: object) -> str:
    """Write a value within a text: null as nothing, and the rest as JSON has it (`string`)."""
    if value is None:
        return ""
    return value if isinstance(value, str) else tojson(value)


def tojson(value: object) -> str:
    """Write a value as JSON (`tojson`)."""
    text = orjson.dumps(value).decode()
    check_size(len(text))
    return text


def replace(value: object, old: str, new: str, count: int = -1) -> str:
    """Replace a text in a text (`replace`)."""
    text = in_text(value)
    check_size(len(text) + text.count(old) * len(new))
    return text.replace(old, new, count)


def join(value: list[object], separator: str = "") -> str:
    """Join the items of a list (`join`)."""
    texts = [in_text(inner) for inner in value]
    check_size(sum(map(len, texts)) + len(separator) * len(texts))
    return separator.join(texts)


def rounded(value: float, precision: int = 0) -> float:
    """Round a number (`round`)."""
    if abs(precision) > _MAX_DIGITS:  # 10 ** precision is worked out
        raise ValueError
    return round(value, precision) if precision else round(value)


def default(value: object, other: object = "", boolean: bool = False) -> object:
    """Replace what is unknown, null included; and what is false, if asked, as in Jinja."""
    unknown = value is None or isinstance(value, Undefined)
    return other if unknown or (boolean and not value) else value
