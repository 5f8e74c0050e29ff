"""
Jinja expressions over one lead, such as ``{{ lead.email | lower }}`` (Contract 2.7).

Jinja's sandbox bounds what an expression can reach. It does not bound what it costs: within it
``{{ 9 ** 9 ** 9 }}``, ``{{ 1.5 | round(10 ** 9, "floor") }}`` or two nested loops would hold up a
whole dispatch, and a thread cannot be stopped. So an expression is compiled if it is made of parts
whose cost is known: no statement, no power, and only the filters that are listed here. What is left
does each of its steps once, on texts of at most 1 MiB.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from jinja2 import TemplateError, UndefinedError, nodes
from jinja2.visitor import NodeTransformer

from zbl_provider.exceptions import ConfigurationError, InvalidLead
from zbl_provider.leads.fields import SHAPE
from zbl_provider.leads.jinja import MAX_TEXT_CHARS, METHODS, SLICE, Sandbox, in_text

if TYPE_CHECKING:
    from jinja2.runtime import Context


_INT64: Final = range(-(2**63), 2**64)  # what orjson can write
_WORD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,39}")
_ALLOWED: Final = (
    nodes.Const, nodes.Name, nodes.Getattr, nodes.Getitem, nodes.Slice, nodes.Filter, nodes.Test,
    nodes.CondExpr, nodes.And, nodes.Or, nodes.Not, nodes.Compare, nodes.Operand, nodes.Add,
    nodes.Sub, nodes.Mul, nodes.Div, nodes.FloorDiv, nodes.Mod, nodes.Neg, nodes.Pos, nodes.List,
    nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Call, nodes.Keyword,
)  # fmt: skip
_MISSING: Final = "must name what this lead has, or say what to write otherwise: | default(…)"
_FAILED: Final = "must be an expression that can be worked out for this lead"


class Rendering:
    """
    One lead's body in the making, with the room that is left in it.

    :param document: as from :func:`zbl_provider.leads.payload.document`
    """

    __slots__ = ("context", "room")

    def __init__(self, document: Mapping[str, object]) -> None:
        roots = {name: document[name] for name in SHAPE}
        self.context: Context = _ENVIRONMENT.context_class(_ENVIRONMENT, roots, None, {})
        self.room = MAX_TEXT_CHARS

    def spend(self, characters: int) -> None:
        """Count what is rendered; a lead's one long text may be named a thousand times."""
        self.room -= characters
        if self.room < 0:
            raise InvalidLead("body", "must not be over 1 MiB")


Render = Callable[[Rendering], object]


def compile_text(text: str, place: str) -> Render:
    """
    Turn a text with expressions into what makes its value for a lead.

    :param text: with ``{{ … }}`` in it. One expression alone gives its own value, of any JSON type;
        otherwise texts and values are joined, null as nothing
    :param place: where the text stands, such as ``body.contact.email``
    :return: raises `InvalidLead`, naming the place, for a lead for which there is no value
    :raises ConfigurationError: naming the place; no text is shown
    """
    renders: list[Render | str] = []
    try:
        for statement in _ENVIRONMENT.parse(text).body:
            if not isinstance(statement, nodes.Output):
                raise refusal(place, "has a statement", "Write expressions only: {{ … }}")
            for node in statement.nodes:
                if isinstance(node, nodes.TemplateData):
                    renders.append(node.data)
                else:
                    _check(node, place)
                    renders.append(_function(_Slices().visit(node)))
    except (TemplateError, SyntaxError, ValueError, MemoryError, RecursionError):
        remedy = "Correct what stands between {{ and }}"
        raise refusal(place, "is not a Jinja expression", remedy) from None
    if len(renders) == 1:
        (alone,) = renders
        return lambda lead: _evaluate(alone, lead, place)
    return lambda lead: "".join([in_text(_evaluate(part, lead, place)) for part in renders])


def refusal(place: str, problem: str, remedy: str) -> ConfigurationError:
    """Refuse a part of a body by its place."""
    return ConfigurationError(field=place, problem=problem, remedy=remedy)


def _check(node: nodes.Node, place: str) -> None:
    """Let through what reads and forms data, and costs no more than the data's size."""
    if isinstance(node, nodes.Concat):
        raise refusal(place, "uses ~", "Write the expressions side by side: {{ a }}{{ b }}")
    if not isinstance(node, _ALLOWED):
        kind = type(node).__name__.lower()
        raise refusal(place, f"uses {kind}, which is not supported here", "Write it without")
    if isinstance(node, nodes.Name) and node.name not in SHAPE:
        raise refusal(place, f"uses the name {_word(node.name)}", "Begin with lead or list")
    if isinstance(node, nodes.Filter) and node.name not in _FILTERS:
        remedy = f"Supported are {', '.join(sorted(_FILTERS))}"
        raise refusal(place, f"uses the filter {_word(node.name)}", remedy)
    if isinstance(node, nodes.Call) and not (
        isinstance(node.node, nodes.Getattr) and node.node.attr in METHODS
    ):
        remedy = f"Texts have the methods {', '.join(sorted(METHODS))}"
        raise refusal(place, "calls something other than a method of a text", remedy)
    if isinstance(node, nodes.Getattr | nodes.Getitem) and (known := _members(node.node)):
        name = _member(node)
        if isinstance(name, str) and name not in known:
            problem = f"uses {_word(name)}, which no lead has there"
            raise refusal(place, problem, f"There are {', '.join(known)}")
    for inner in node.iter_child_nodes():
        _check(inner, place)


def _members(node: nodes.Node) -> Mapping[str, Any] | None:
    """Return the names that an expression's value surely has; None if it may be anything."""
    if isinstance(node, nodes.Name):
        return SHAPE.get(node.name)
    if isinstance(node, nodes.Getattr | nodes.Getitem) and (known := _members(node.node)):
        return known.get(_member(node))
    return None


def _member(node: nodes.Getattr | nodes.Getitem) -> Any:  # noqa: ANN401  a constant of any type
    if isinstance(node, nodes.Getattr):
        return node.attr
    return node.arg.value if isinstance(node.arg, nodes.Const) else None


class _Slices(NodeTransformer):
    """Turns slices into calls of a filter: Jinja's are Python's own, which fail on null."""

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802  as Jinja has it
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        ends = (node.arg.start, node.arg.stop, node.arg.step)
        bounds = [end or nodes.Const(None) for end in ends]
        return nodes.Filter(node.node, SLICE, bounds, [], None, None, lineno=node.lineno)


def _function(expression: nodes.Expr) -> Render:
    """Compile an expression. Jinja renders text, so the value is taken from an assignment."""
    target = nodes.Name("result", "store", lineno=1)
    code = nodes.Template([nodes.Assign(target, expression, lineno=1)], lineno=1)
    code.set_environment(_ENVIRONMENT)
    template = _ENVIRONMENT.from_string(code)

    def render(lead: Rendering) -> object:
        for _ in template.root_render_func(lead.context):
            pass  # an assignment gives no text
        return lead.context.vars["result"]

    return render


def _evaluate(render: Render | str, lead: Rendering, place: str) -> object:
    if isinstance(render, str):
        return render
    try:
        return _json(render(lead), lead)
    except UndefinedError:
        rule = _MISSING
    except (TemplateError, ArithmeticError, AssertionError, AttributeError, LookupError,
            MemoryError, NameError, RecursionError, TypeError, ValueError):  # fmt: skip
        rule = _FAILED
    # Not within the block above: what was raised there may quote the lead.
    raise InvalidLead(place, rule)


def _json(value: object, lead: Rendering) -> object:
    """Copy a value if it is JSON that can be written as UTF-8, and count it."""
    lead.spend(len(value) if isinstance(value, str) else 4)
    if isinstance(value, str):
        value.encode()  # half a surrogate pair is a ValueError
        return value
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        if value in _INT64 if isinstance(value, int) else math.isfinite(value):
            return value
        raise ValueError
    if isinstance(value, list | tuple):
        return [_json(inner, lead) for inner in value]
    if isinstance(value, dict):
        if not all(isinstance(_json(key, lead), str) for key in value):
            raise TypeError
        return {key: _json(inner, lead) for key, inner in value.items()}
    str(value)  # raises UndefinedError for what is undefined
    raise TypeError


def _word(name: str) -> str:
    return name if _WORD.fullmatch(name) else "(not shown)"


_ENVIRONMENT: Final = Sandbox()
_FILTERS: Final = frozenset(_ENVIRONMENT.filters) - {SLICE}
