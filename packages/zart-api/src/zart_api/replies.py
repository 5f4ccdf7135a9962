"""JSON answers, and what OpenAPI says of them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final, TypeAlias

from fastapi import Response
from pydantic import BaseModel

from zart_api.problems import Problem

Responses: TypeAlias = dict[int | str, dict[str, Any]]

ALWAYS: Final = (401, 403, 500, 503)
"""Problems that every route under /v1 may answer."""


def reply(
    model: BaseModel, status: int = 200, *, headers: Mapping[str, str] | None = None, without: Any = None
) -> Response:
    """Return `model` as JSON, leaving out the fields that `without` names as pydantic's `exclude` does."""
    return Response(model.model_dump_json(exclude=without), status, headers, "application/json")


def problem_responses(*statuses: int) -> Responses:
    """Return what OpenAPI says of these problems."""
    return {
        status: {"model": Problem, "description": HTTPStatus(status).phrase} for status in sorted(statuses)
    }


def documented(*statuses: int) -> Responses:
    """Return what OpenAPI says of a guarded route's problems: these, and those that each of them has."""
    return problem_responses(*statuses, *ALWAYS)


def with_headers(description: str, model: type[BaseModel], **headers: str) -> dict[str, Any]:
    """Return what OpenAPI says of an answer with headers; `_` in their names stands for `-`."""
    described = {
        name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
        for name, text in headers.items()
    }
    return {"model": model, "description": description, "headers": described}
