"""Reading JSON bodies: a limit while they come in, their media type, strict JSON, then their shape."""

from __future__ import annotations

from email.message import Message
from typing import Any, Final, TypeVar

import pydantic_core
from fastapi import Request
from pydantic import BaseModel, ValidationError

from zart_api.problems import RefusedError, field_errors, summary

LIMIT: Final = 16 * 2**20 + 64 * 2**10
"""Bytes that a body may have: the largest payload, and what stands around it."""

M = TypeVar("M", bound=BaseModel)


async def read_json(request: Request) -> Any:
    """Return the JSON of the body; None if it is empty.

    Raises:
        RefusedError: 413 if it is too large, 415 if it says to be something else than JSON, 400 if it is not JSON.
    """
    body = await _read(request)
    if not body:
        return None
    _check_media_type(request.headers.get("content-type"))
    try:
        return pydantic_core.from_json(body, allow_inf_nan=False)
    except ValueError as error:
        raise RefusedError(400, f"the body is not valid JSON: {error}") from error


def shaped(model: type[M], value: Any) -> M:
    """Return `value` as a model.

    Raises:
        RefusedError: 422, with the path of each part that does not fit.
    """
    if not isinstance(value, dict):
        raise RefusedError(422, "the body must be a JSON object" + ("; it is empty" if value is None else ""))
    try:
        return model.model_validate(value)
    except ValidationError as error:
        parts = field_errors(error.errors(include_url=False, include_context=False, include_input=False))
        raise RefusedError(422, summary(parts), errors=parts) from error


def request_body(schema: dict[str, Any], *, required: bool) -> dict[str, Any]:
    """Return the part of a route's OpenAPI that describes its body."""
    return {"requestBody": {"required": required, "content": {"application/json": {"schema": schema}}}}


async def _read(request: Request) -> bytes:
    length = request.headers.get("content-length", "")
    if length.isdecimal() and int(length) > LIMIT:
        raise _too_large()
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > LIMIT:
            raise _too_large()
        parts.append(part)
    return b"".join(parts)


def _too_large() -> RefusedError:
    detail = f"the body has more than {LIMIT:,} bytes; store the data elsewhere and send a reference to it"
    return RefusedError(413, detail)


def _check_media_type(header: str | None) -> None:
    if header is None:
        return
    message = Message()
    message["content-type"] = header
    kind, charset = message.get_content_type(), message.get_content_charset("utf-8")
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    if not is_json or charset not in {"utf-8", "us-ascii"}:
        raise RefusedError(
            415,
            f"the body is {header!r}; send JSON in UTF-8 with the header Content-Type: application/json",
            headers={"Accept-Post": "application/json"},
        )
