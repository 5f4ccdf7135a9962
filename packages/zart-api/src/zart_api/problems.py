"""Errors as `application/problem+json` (RFC 9457): the one place that maps them to statuses and words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.routing import Match

from zart_api import paths
from zart_core import errors
from zart_scheduler import InputInvalid

MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final[Mapping[type[errors.ZartError], int]] = {
    errors.ZartError: 500,
    errors.InvalidText: 422,
    errors.WorkflowNotFound: 404,
    errors.SchemaOutOfDate: 503,
    errors.UsageError: 422,
    errors.ExecutionNotFound: 404,
    errors.ExecutionConflict: 409,
    errors.ExecutionBlocked: 409,
    errors.Divergence: 409,
    errors.RunFinished: 409,
    errors.IllegalTransition: 409,
    errors.PayloadInvalid: 422,
    errors.PayloadTooLarge: 413,
    errors.StoreUnavailable: 503,
    errors.StoreConflict: 422,
}
"""Statuses by class; a class that is not here has that of its nearest base."""

_RETRY_AFTER: Final = "5"
_NOT_ALLOWED: Final = 405


class FieldError(BaseModel):
    """What is wrong with one part of a request."""

    path: str = Field(description="Where it is, as in `input.items[0].amount`; empty for the whole body.")
    message: str


class Problem(BaseModel):
    """What went wrong (RFC 9457). Programs go by `code`, people read `detail`."""

    model_config = ConfigDict(extra="forbid")

    type: str = Field(description="A URI that names the kind of problem.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status.", ge=400, le=599)
    detail: str = Field(description="What happened and what to do.")
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="Stable name of the problem, such as `ZART-E002`.")
    errors: list[FieldError] | None = Field(
        default=None, description="Each part that is wrong, with its path."
    )
    correlation_id: str | None = Field(default=None, description="Finds the entry in the server's log.")


class RefusedError(Exception):
    """A request that the API itself turns away, before Zart is asked.

    Attributes:
        status: The HTTP status.
        detail: What happened and what to do.
        headers: Headers of the answer.
        errors: Each part of the request that is wrong.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        headers: Mapping[str, str] | None = None,
        errors: Iterable[FieldError] = (),
    ) -> None:
        super().__init__(status, detail)
        self.status, self.detail = status, detail
        self.headers, self.errors = dict(headers or {}), list(errors)


def install(app: FastAPI) -> None:
    """Answer every error of `app` with a problem."""

    @app.exception_handler(errors.ZartError)
    async def zart_error(request: Request, error: errors.ZartError) -> Response:
        return of_zart_error(request, error)

    @app.exception_handler(RefusedError)
    async def refused(request: Request, error: RefusedError) -> Response:
        return of_status(request, error.status, error.detail, headers=error.headers, parts=error.errors)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        # FastAPI's paths begin with where the value was: query, path or header.
        parts = field_errors({**detail, "loc": detail["loc"][1:]} for detail in error.errors())
        return of_status(request, 422, summary(parts), parts=parts)

    @app.exception_handler(HTTPException)
    async def http_error(request: Request, error: HTTPException) -> Response:
        detail = _DETAILS.get(error.status_code, str(error.detail))
        headers = {"Allow": _allowed(request)} if error.status_code == _NOT_ALLOWED else error.headers
        return of_status(request, error.status_code, detail, headers=headers)


def of_zart_error(request: Request, error: errors.ZartError) -> Response:
    """Return the answer to one of Zart's own errors."""
    status = status_of(type(error))
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR and status != HTTPStatus.SERVICE_UNAVAILABLE:
        raise error  # a fault of the server: logged, and answered without its text
    title = _words(type(error).__name__)
    problem = _problem(request, status, title, str(error), error.code)
    if isinstance(error, InputInvalid):
        problem.errors = [FieldError(path=error.path, message=error.message)]
    return _answer(problem)


def of_status(
    request: Request,
    status: int,
    detail: str,
    *,
    headers: Mapping[str, str] | None = None,
    parts: list[FieldError] | None = None,
    correlation_id: str | None = None,
) -> Response:
    """Return a problem that HTTP itself has a name for."""
    problem = _problem(request, status, HTTPStatus(status).phrase, detail, f"ZART-H{status}")
    problem.errors, problem.correlation_id = parts or None, correlation_id
    return _answer(problem, headers)


def status_of(kind: type[errors.ZartError]) -> int:
    """Return the HTTP status of a class of errors."""
    return next(STATUS[base] for base in kind.__mro__ if base in STATUS)


def field_errors(details: Iterable[Any]) -> list[FieldError]:
    """Return pydantic's error details as parts, each with its path."""
    return [FieldError(path=path_text(detail["loc"]), message=str(detail["msg"])) for detail in details]


def path_text(parts: Iterable[str | int]) -> str:
    """Return a path as text: `items[0].amount`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts).removeprefix(".")


def summary(parts: list[FieldError]) -> str:
    """Return the first error in one line, and how many more there are."""
    first, more = parts[0], len(parts) - 1
    text = f"{first.path}: {first.message}" if first.path else first.message
    return f"{text}; and {more} more" if more else text


def _allowed(request: Request) -> str:
    """Return all methods of the path; the router names those of the first route only."""
    routes = request.app.routes
    taken = [
        method
        for method in ("GET", "POST")
        if any(route.matches({**request.scope, "method": method})[0] is Match.FULL for route in routes)
    ]
    return ", ".join([*taken, "HEAD"] if "GET" in taken else taken)


def _problem(request: Request, status: int, title: str, detail: str, code: str) -> Problem:
    return Problem(
        type=f"urn:zart:problem:{code}",
        title=title,
        status=status,
        detail=detail,
        instance=paths.instance(request.scope),
        code=code,
    )


def _answer(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    waits = {"Retry-After": _RETRY_AFTER} if problem.status == HTTPStatus.SERVICE_UNAVAILABLE else {}
    return Response(
        problem.model_dump_json(exclude_none=True),
        problem.status,
        {**waits, **(headers or {})},
        MEDIA_TYPE,
    )


def _words(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).capitalize()


_DETAILS: Final = {
    404: "there is nothing at this path; /openapi.json lists what there is",
    405: "this path does not take that method; the header Allow names those it takes",
}
