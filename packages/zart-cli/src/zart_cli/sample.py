"""An input to try a workflow with, made up from its JSON Schema. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

_DEEPEST: Final = 6
_SIMPLE: Final[Mapping[str, Any]] = {
    "string": "...",
    "integer": 1,
    "number": 1.0,
    "boolean": True,
    "null": None,
}
_FORMATS: Final[Mapping[str, str]] = {
    "date-time": "2030-01-31T09:00:00Z",
    "date": "2030-01-31",
    "time": "09:00:00Z",
    "duration": "PT1H",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "email": "someone@example.com",
    "uri": "https://example.com/",
}


def sample_input(schema: Mapping[str, Any]) -> Any:
    """Return a value that most likely fits `schema`: examples and defaults first, optional fields left out."""
    return _sample(schema, schema.get("$defs", {}), 0)


def _sample(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Any:
    for key in ("const", "default"):
        if key in schema:
            return schema[key]
    for key in ("examples", "enum"):
        if schema.get(key):
            return schema[key][0]
    if depth > _DEEPEST:
        return None
    if "$ref" in schema:
        return _sample(definitions.get(str(schema["$ref"]).rpartition("/")[2], {}), definitions, depth + 1)
    for key in ("anyOf", "oneOf", "allOf"):
        if schema.get(key):
            return _sample(schema[key][0], definitions, depth + 1)
    return _of_type(schema, definitions, depth)


def _of_type(schema: Mapping[str, Any], definitions: Mapping[str, Any], depth: int) -> Any:
    kind = schema.get("type")
    if kind == "object":
        required, fields = schema.get("required", ()), schema.get("properties", {})
        return {name: _sample(fields.get(name, {}), definitions, depth + 1) for name in required}
    if kind == "array":
        return (
            [_sample(schema["items"], definitions, depth + 1)]
            if schema.get("minItems") and "items" in schema
            else []
        )
    if kind in {"integer", "number"} and "minimum" in schema:
        return schema["minimum"]
    if kind == "string":
        return _FORMATS.get(schema.get("format", ""), "...")
    return _SIMPLE.get(str(kind))
