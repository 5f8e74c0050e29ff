"""
The packaged JSON Schema of the payload, and its verdict (Contract 5.5).

`jsonschema` is the reference: it explains every refusal. `jsonschema-rs`, where it is installed,
lets valid payloads pass a hundred times as fast.
"""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from zbl_provider.exceptions import InvalidLead
from zbl_provider.leads.payload import MAX_BODY_BYTES
from zbl_provider.leads.values import field_path

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

_WORDS = {
    "boolean": "true or false",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "text",
}
_NO_JSON = "must be Unicode text and JSON values"
# What is not here (pattern, not) is said by the description beside it in the schema.
_PHRASES = {
    "additionalProperties": "must have no keys but those of the contract",
    "const": "must be {}",
    "maximum": "must be at most {}",
    "maxLength": "must be at most {} characters long",
    "minimum": "must be at least {}",
    "minLength": "must be at least {} characters long",
    "required": "must have every key of the contract",
}


def schema_text() -> str:
    """Give the text of the packaged ``lead_qualified.schema.json``, draft 2020-12."""
    return files(__package__).joinpath("lead_qualified.schema.json").read_text(encoding="utf-8")


def violation(document: Mapping[str, object]) -> InvalidLead | None:
    """
    Judge a document by the contract's schema (Contract 5.5).

    :param document: as from :func:`zbl_provider.leads.payload.document`
    :return: None if it is valid; else the first violation, with path and rule, never the value
    """
    try:
        if _quick_gate()(document):
            return None
    except ValueError:  # it is not JSON; the reference says what it is
        pass
    from jsonschema.exceptions import best_match

    error = best_match(_reference().iter_errors(document))
    if error is not None:
        path = ""
        for key in map(str, error.absolute_path):
            path = field_path(path, key) if path else key
        return InvalidLead(path or "body", _rule(error))
    try:  # `jsonschema` skips values that no rule covers: they must be JSON, too
        json.dumps(document, ensure_ascii=False, allow_nan=False).encode()
    except (TypeError, ValueError, RecursionError):
        return InvalidLead("lead", _NO_JSON)
    return None


def check_size(body: bytes) -> InvalidLead | None:
    """
    Judge a body by its size (Contract 5.5).

    :param body: as from :func:`zbl_provider.leads.payload.encode`
    :return: None up to and including 1 MiB
    """
    if len(body) <= MAX_BODY_BYTES:
        return None
    return InvalidLead("body", f"must be at most {MAX_BODY_BYTES} bytes long")


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(schema_text())
    return schema


# Neither validator fetches anything: the schema refers to nothing outside itself.
@cache
def _quick_gate() -> Callable[[Mapping[str, object]], bool]:
    try:
        from jsonschema_rs import Draft202012Validator as QuickValidator
    except ImportError:
        return lambda _document: False
    return QuickValidator(_schema()).is_valid


@cache
def _reference() -> Draft202012Validator:
    from jsonschema import Draft202012Validator

    return Draft202012Validator(_schema())


def _rule(error: ValidationError) -> str:
    """Say the rule in the schema's words; the validator's own messages may quote the value."""
    *outer, keyword = error.absolute_schema_path
    if "propertyNames" in outer:
        return "must have names that are not empty"
    around: Any = _schema()
    for key in outer:
        around = around[key]
    limit = around[keyword]
    if keyword == "type":
        types = limit if isinstance(limit, list) else [limit]
        return "must be " + " or ".join(_WORDS[str(name)] for name in types)
    phrase: str = _PHRASES.get(str(keyword), around.get("description", ""))
    return phrase.format(limit)
