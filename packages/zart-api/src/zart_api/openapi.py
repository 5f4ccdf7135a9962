"""The OpenAPI document: FastAPI's, with what it cannot know of bodies and problems."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel

from zart_api import problems, schemas

VERSION: Final = version("zart-api")

_DESCRIPTION: Final = """Start durable executions, send them events, read what they did.

Errors are `application/problem+json`; programs go by `code`. Ids are percent-encoded in paths:
`order/7` is `order%2F7`.
"""
_BODIES: Final[tuple[type[BaseModel], ...]] = (
    schemas.StartIn,
    schemas.CancelIn,
    schemas.UnblockIn,
    schemas.RestartIn,
    schemas.RerunIn,
    schemas.ForkIn,
    schemas.RetryStepIn,
)
_REF: Final = "#/components/schemas/{model}"
_FIRST_ERROR: Final = 400


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the app's routes; the same text for the same release."""
    found = get_openapi(
        title="Zart",
        version=VERSION,
        summary="Durable execution on PostgreSQL.",
        description=_DESCRIPTION,
        license_info={"name": "MIT", "identifier": "MIT"},
        routes=app.routes,
        separate_input_output_schemas=False,
    )
    known = found.setdefault("components", {}).setdefault("schemas", {})
    for model in _BODIES:
        own = model.model_json_schema(ref_template=_REF)
        known |= own.pop("$defs", {})
        known[model.__name__] = own
    found["components"]["schemas"] = dict(sorted(known.items()))
    for operations in found["paths"].values():
        for operation in operations.values():
            _mark_problems(operation["responses"])
    return found


def _mark_problems(responses: dict[str, dict[str, Any]]) -> None:
    for status, response in responses.items():
        content = response.get("content", {})
        if status.isdecimal() and int(status) >= _FIRST_ERROR and "application/json" in content:
            content[problems.MEDIA_TYPE] = content.pop("application/json")
