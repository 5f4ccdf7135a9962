"""What every command has in common: the global options, errors as messages and exit codes, examples in the help."""

from __future__ import annotations

import functools
import inspect
import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer

from zart_cli import settings
from zart_cli.options import ConnectTimeoutOpt, DatabaseUrlOpt, OutputOpt, TimeOpt
from zart_cli.reporting import reporting_errors


def noun(name: str, help: str) -> typer.Typer:
    """Return the group of commands about one thing."""
    group = typer.Typer(name=name, help=help, no_args_is_help=True, add_completion=False)
    group.callback()(with_globals(_nothing))
    return group


def verb(
    group: typer.Typer, name: str | None = None, *, examples: Sequence[str] = (), panel: str | None = None
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command of `group`; its docstring is the help, `examples` close it."""
    epilog = (
        "\n\n".join(["[dim]Examples:[/dim]", *(f"  {example}" for example in examples)]) if examples else None
    )

    def register(command: Callable[..., None]) -> Callable[..., None]:
        group.command(name, epilog=epilog, rich_help_panel=panel)(with_globals(command))
        return command

    return register


def with_globals(command: Callable[..., None]) -> Callable[..., None]:
    """Add the global options to a command, and report its errors."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        settings.update(**{name: given.pop(name) for name in _GLOBALS})
        with reporting_errors():
            command(**given)
            sys.stdout.flush()  # a reader that has gone is found here, not at the interpreter's end

    own = inspect.signature(command, eval_str=True)
    parameters = {**own.parameters, **_GLOBALS}
    # Typer reads both: what to parse, and into which types.
    vars(run)["__signature__"] = own.replace(parameters=list(parameters.values()))
    run.__annotations__ = {name: parameter.annotation for name, parameter in parameters.items()}
    return run


def _nothing() -> None:
    pass


def _globals(
    *,
    database_url: DatabaseUrlOpt = None,
    output: OutputOpt = None,
    time: TimeOpt = None,
    connect_timeout: ConnectTimeoutOpt = None,
) -> None:
    """Only its signature counts."""


_GLOBALS = dict(inspect.signature(_globals, eval_str=True).parameters)
