"""JSON answers, and what OpenAPI says of them."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import Response
from pydantic import BaseModel

from zart_api.problems import Problem

_ALWAYS: Final = (401, 403, 500, 503)


def reply(
    model: BaseModel, status: int = 200, *, headers: Mapping[str, str] | None = None, without: Any = None
) -> Response:
    """Return `model` as JSON, leaving out the fields that `without` names as pydantic's `exclude` does."""
    return Response(model.model_dump_json(exclude=without), status, headers, "application/json")


def documented(*problems: int, existing: type[BaseModel] | None = None) -> dict[int | str, dict[str, Any]]:
    """Return what a route answers besides success: the problems, and 200 for something that existed before."""
    found: dict[int | str, dict[str, Any]] = {
        status: {"model": Problem, "description": HTTPStatus(status).phrase}
        for status in sorted({*problems, *_ALWAYS})
    }
    if existing is not None:
        found[200] = {
            "model": existing,
            "description": "It existed before; the header Zart-Existing says so.",
        }
    return found
