"""The packaged JSON Schema of the payload, and its verdict (Contract 5.5)."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from jsonschema_rs import Draft202012Validator

from zbl_provider.exceptions import InvalidLead
from zbl_provider.leads.payload import MAX_BODY_BYTES
from zbl_provider.leads.values import field_path

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jsonschema_rs import ValidationError

_WORDS = {
    "boolean": "true or false",
    "null": "null",
    "number": "a number",
    "object": "an object",
    "string": "text",
}
# What is not here (pattern, not) is said by the description beside it in the schema.
_PHRASES = {
    "additionalProperties": "must have no key that the contract has not",
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
        if _validator().is_valid(document):
            return None
        error = next(iter(_validator().iter_errors(document)))
    except ValueError:
        return InvalidLead("lead", "must be Unicode text and JSON values")
    return InvalidLead(_path(error.instance_path), _rule(error))


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


@cache
def _validator() -> Draft202012Validator:
    # The schema refers to nothing outside itself, so no validator has cause to fetch anything.
    return Draft202012Validator(_schema())


def _path(keys: Sequence[str | int]) -> str:
    path = ""
    for key in keys:
        path = field_path(path, str(key)) if path else str(key)
    return path or "body"


def _rule(error: ValidationError) -> str:
    """Say the rule in the schema's words; the validator's own messages may quote the value."""
    keyword = str(error.schema_path[-1])
    around: Any = _schema()
    for key in error.schema_path[:-1]:
        around = around[key]
    return _phrase(keyword, around[keyword], around.get("description", ""))


def _phrase(keyword: str, limit: object, description: str) -> str:
    if keyword == "type":
        types = limit if isinstance(limit, list) else [limit]
        return "must be " + " or ".join(_WORDS[str(name)] for name in types)
    return _PHRASES.get(keyword, description).format(limit)
