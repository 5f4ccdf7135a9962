"""What each error means at the command line: the only map from errors to exit codes and to the next command. Pure."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import typer

from zart_cli.exitcodes import ExitCode
from zart_core import errors


class ImportFailed(Exception):
    """A module with workflows failed while it was imported; `trace` is the user's part of the traceback."""

    def __init__(self, module: str, trace: str) -> None:
        super().__init__(module, trace)
        self.module, self.trace = module, trace


class CheckFailed(Exception):
    """A check found what it looks for; nothing is wrong with the command itself."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One error as it is shown. `hint` names the next command; `trace` stands before all."""

    exit_code: ExitCode
    status: HTTPStatus
    code: str
    title: str
    detail: str
    hint: str | None = None
    instance: str | None = None
    trace: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the problem object of RFC 9457, with the same field names as HTTP."""
        found = {
            "type": f"urn:zart:problem:{self.code}",
            "title": self.title,
            "status": int(self.status),
            "detail": self.detail,
            "instance": self.instance,
            "code": self.code,
            "exit_code": int(self.exit_code),
            "hint": self.hint,
            "traceback": self.trace,
        }
        return {key: value for key, value in found.items() if value is not None}


_Hint = Callable[[Any], str | None] | str | None


def _of_execution(command: str, why: str) -> Callable[[Any], str | None]:
    return lambda error: f"zart runs {command} {shlex.quote(error.execution_id)}  {why}"


_REGISTERED = "zart workflows list  shows what workers registered; --allow-unknown starts it all the same"


_SHOW = _of_execution("show", "tells what happened")

# The first class that fits counts: what is special stands before what is general.
_RULES: tuple[tuple[type[BaseException], ExitCode, HTTPStatus, _Hint], ...] = (
    (errors.WorkflowNotFound, ExitCode.NOT_FOUND, HTTPStatus.NOT_FOUND, _REGISTERED),
    (errors.SchemaOutOfDate, ExitCode.CHECK_FAILED, HTTPStatus.SERVICE_UNAVAILABLE, None),
    (errors.ConfigurationError, ExitCode.USAGE, HTTPStatus.UNPROCESSABLE_ENTITY, None),
    (errors.UsageError, ExitCode.USAGE, HTTPStatus.UNPROCESSABLE_ENTITY, None),
    (errors.PayloadError, ExitCode.USAGE, HTTPStatus.UNPROCESSABLE_ENTITY, None),
    (
        errors.ExecutionNotFound,
        ExitCode.NOT_FOUND,
        HTTPStatus.NOT_FOUND,
        "zart runs list  shows those there are",
    ),
    (
        errors.ExecutionConflict,
        ExitCode.CONFLICT,
        HTTPStatus.CONFLICT,
        _of_execution("show", "shows it; or pass another --id"),
    ),
    (errors.RunFinished, ExitCode.CONFLICT, HTTPStatus.CONFLICT, _SHOW),
    (errors.IllegalTransition, ExitCode.CONFLICT, HTTPStatus.CONFLICT, _SHOW),
    (errors.StoreConflict, ExitCode.CONFLICT, HTTPStatus.UNPROCESSABLE_ENTITY, None),
    (
        errors.ExecutionFailed,
        ExitCode.RUN_FAILED,
        HTTPStatus.CONFLICT,
        _of_execution("show", "shows the step and its traceback"),
    ),
    (errors.ExecutionCancelled, ExitCode.RUN_CANCELLED, HTTPStatus.CONFLICT, _SHOW),
    (errors.ExecutionBlocked, ExitCode.RUN_BLOCKED, HTTPStatus.CONFLICT, _SHOW),
    (errors.Divergence, ExitCode.RUN_BLOCKED, HTTPStatus.CONFLICT, None),
    (
        errors.WaitTimeout,
        ExitCode.WAIT_TIMED_OUT,
        HTTPStatus.GATEWAY_TIMEOUT,
        _of_execution("show", "tells what it waits for"),
    ),
    (
        errors.StoreUnavailable,
        ExitCode.UNREACHABLE,
        HTTPStatus.SERVICE_UNAVAILABLE,
        "check --database-url or ZART_DATABASE_URL; zart db status  tells about the embedded server",
    ),
    (CheckFailed, ExitCode.CHECK_FAILED, HTTPStatus.CONFLICT, None),
)


def problem_of(error: BaseException) -> Problem:
    """Return how `error` is shown and which exit code it means; total over all exceptions."""
    if isinstance(error, ImportFailed):
        return _import_failed(error)
    if isinstance(error, typer.TyperException):
        return _usage(error)
    if isinstance(error, KeyboardInterrupt | typer.Abort):
        return Problem(
            ExitCode.INTERRUPTED, HTTPStatus.BAD_REQUEST, "ZART-Z130", "Interrupted", "interrupted"
        )
    if isinstance(error, errors.WaitTimeout) and not error.seconds:
        return _not_ended(error)
    for kind, exit_code, status, hint in _RULES:
        if isinstance(error, kind):
            said = hint(error) if callable(hint) else hint
            return Problem(
                exit_code, status, _code(error), _title(error), one_line(str(error)), said, _instance(error)
            )
    return _unexpected(error)


def one_line(text: str) -> str:
    """Return `text` with line ends and indents made one space each."""
    return " ".join(text.split())


def _code(error: BaseException) -> str:
    return str(getattr(error, "code", errors.ZartError.code))


def _instance(error: BaseException) -> str | None:
    found = getattr(error, "execution_id", None)
    return f"/v1/executions/{quote(found, safe='')}" if isinstance(found, str) else None


def _title(error: BaseException) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(error).__name__).capitalize()


def _import_failed(error: ImportFailed) -> Problem:
    return Problem(
        ExitCode.UNEXPECTED,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "ZART-Z002",
        "Import failed",
        f"{error.module} failed to import",
        "mend the module; its own traceback is above",
        trace=error.trace,
    )


def _not_ended(error: errors.WaitTimeout) -> Problem:
    """Someone looked once, without patience."""
    return Problem(
        ExitCode.WAIT_TIMED_OUT,
        HTTPStatus.GATEWAY_TIMEOUT,
        _code(error),
        "Not ended",
        f"execution {error.execution_id!r} has not ended yet",
        f"zart runs wait {shlex.quote(error.execution_id)}  waits for it",
        _instance(error),
    )


def _usage(error: typer.TyperException) -> Problem:
    """Typer's own complaints: a word it does not know, an option without its value."""
    context = getattr(error, "ctx", None)
    detail = one_line(error.format_message()).replace("Value error, ", "")  # empty after the help was printed
    hint = (
        f"{context.command_path} --help  shows how it is written" if context is not None and detail else None
    )
    exit_code = ExitCode.USAGE if error.exit_code == ExitCode.USAGE else ExitCode.UNEXPECTED
    return Problem(exit_code, HTTPStatus.BAD_REQUEST, "ZART-Z001", "Usage error", detail, hint)


def _unexpected(error: BaseException) -> Problem:
    name = type(error).__name__
    known = isinstance(error, errors.ZartError | OSError)
    return Problem(
        ExitCode.UNEXPECTED,
        HTTPStatus.INTERNAL_SERVER_ERROR,
        _code(error),
        _title(error),
        one_line(str(error)) or name if known else f"unexpected {name}: {one_line(str(error))}",
        None if known else "set ZART_DEBUG=1 and run it again for the traceback",
    )
