"""The command `zart`: one noun, one file under `commands/`; one verb, one function."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from zart_cli import settings
from zart_cli.commands import api, db, dev, events, migrate, runs, worker, workflows
from zart_cli.exitcodes import ExitCode
from zart_cli.reporting import reporting_errors
from zart_cli.settings import Format
from zart_cli.verbs import with_globals


class Zart(TyperGroup):
    """The root command; also words that make no sense are reported as all errors are."""

    def main(
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        windows_expand_args: bool = True,
        **extra: Any,
    ) -> Any:
        """Run one command and leave with its exit code."""
        words = list(sys.argv[1:] if args is None else args)
        settings.begin(output=_output_meant(words))
        del standalone_mode  # Typer's own errors are reported here
        try:
            with reporting_errors():
                code = super().main(
                    words, prog_name or "zart", complete_var, False, windows_expand_args, **extra
                )
        except typer.Exit as exit_:
            code = exit_.exit_code
        sys.exit(code if isinstance(code, int) else int(ExitCode.OK))


def _output_meant(words: Sequence[str]) -> Format:
    """Return what `-o` says, for errors that come before the options are read."""
    for word, following in zip_longest(words, words[1:], fillvalue=""):
        for value in (following if word in {"-o", "--output"} else "", *_glued(word)):
            if value in set(Format):
                return Format(value)
    return Format.TABLE


def _glued(word: str) -> list[str]:
    return [
        word.removeprefix(start) for start in ("--output=", "-o") if word.startswith(start) and word != start
    ]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"zart {version('zart-cli')}")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Durable execution for Python on PostgreSQL.

    Start here: zart dev MODULE  serves your workflows with a PostgreSQL of its own.
    """


app = typer.Typer(
    cls=Zart,
    name="zart",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.callback()(with_globals(_root))
for module in (dev, worker, api, migrate):
    module.register(app)
for module in (runs, events, workflows, db):
    app.add_typer(module.group)


def main() -> None:
    """Run `zart`."""
    _replace_closed_streams()
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    app(prog_name="zart")


def _replace_closed_streams() -> None:
    """Let streams that the shell has closed, as with `>&-`, lead nowhere, before a socket gets their numbers."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(os.open(os.devnull, os.O_RDWR), mode))


__all__ = ["app", "main"]
