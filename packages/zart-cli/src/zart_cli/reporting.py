"""Errors as people and scripts meet them: one or two lines on stderr, or one problem object, and an exit code."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, NoReturn

import typer

from zart_cli import settings
from zart_cli.exitcodes import ExitCode
from zart_cli.problems import Problem, problem_of
from zart_cli.settings import Format
from zart_cli.target import without_passwords


@contextmanager
def reporting_errors() -> Iterator[None]:
    """Turn whatever goes wrong inside into a message on stderr and `typer.Exit` with the right code."""
    try:
        yield
    except (typer.Exit, SystemExit):
        raise
    except BrokenPipeError:
        _leave_closed_pipe()
    except BaseException as error:
        if os.environ.get("ZART_DEBUG") and not isinstance(error, typer.TyperException):
            traceback.print_exc()
        problem = problem_of(error)
        show(problem)
        raise typer.Exit(int(problem.exit_code)) from None


def show(problem: Problem) -> None:
    """Write `problem` to stderr, as text or, with `-o json`, as one JSON object."""
    if settings.current().output in (Format.JSON, Format.JSONL):
        say(json.dumps({key: _clean(value) for key, value in problem.to_json().items()}, ensure_ascii=False))
        return
    if problem.trace:
        say(without_passwords(problem.trace.rstrip()))
    if problem.detail:
        say(without_passwords(f"zart: {problem.detail}"))
    if problem.hint:
        say(without_passwords(f"  {problem.hint}"))


def say(text: str) -> None:
    """Write a line to stderr; a stderr that is closed is no reason to fail."""
    with suppress(OSError, ValueError, AttributeError):
        print(text, file=sys.stderr, flush=True)  # noqa: T201 - this is where messages go


def _clean(value: Any) -> Any:
    return without_passwords(value) if isinstance(value, str) else value


def _leave_closed_pipe() -> NoReturn:
    """End quietly: the reader of stdout (such as `head`) has seen enough."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise typer.Exit(int(ExitCode.OK))
