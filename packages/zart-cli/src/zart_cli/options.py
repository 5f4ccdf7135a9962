"""Types of options and arguments, and how their texts are read. A text that does not fit is a usage error."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated, TypeVar

import typer

from zart_cli.settings import Format, TimeStyle
from zart_core import InvalidText
from zart_core.spi import seconds

T = TypeVar("T")

_TAG = re.compile(r"([^=]+)=(.*)", re.DOTALL)


def parse_duration(text: str) -> float:
    """Return seconds; the error shows text, column and grammar."""
    return _checked(lambda: seconds(text))


def parse_moment(text: str) -> datetime:
    """Return an aware datetime from ISO 8601 with a zone, or from a duration that means "so long ago"."""
    return _parse_moment(text, -1)


def parse_future_moment(text: str) -> datetime:
    """Return an aware datetime from ISO 8601 with a zone, or from a duration that means "so long from now"."""
    return _parse_moment(text, 1)


def _parse_moment(text: str, direction: int) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = None
    if moment is None:
        if not text[:1].isdigit() or "-" in text:
            raise typer.BadParameter(
                f"{text!r} is neither a time such as 2030-01-31T09:00:00Z nor a duration such as 2h"
            )
        return datetime.now(UTC) + direction * timedelta(seconds=parse_duration(text))
    if moment.tzinfo is None:
        raise typer.BadParameter(
            f"{text!r} has no time zone: write {text if 'T' in text else text + 'T00:00:00'}Z for UTC"
        )
    return moment


def parse_tag(text: str) -> tuple[str, str]:
    """Return name and value of `name=value`."""
    match = _TAG.fullmatch(text)
    if match is None:
        raise typer.BadParameter(f"{text!r} is not of the form name=value")
    return match[1], match[2]


def tags_of(texts: list[str] | None) -> dict[str, str]:
    """Return the tags of repeated `--tag name=value`."""
    return dict(parse_tag(text) for text in texts or ())


def _checked(parse: Callable[[], T]) -> T:
    try:
        return parse()
    except InvalidText as error:
        raise typer.BadParameter(str(error)) from None


_GLOBAL = "Global options (before or after the verb)"

DatabaseUrlOpt = Annotated[
    str | None,
    typer.Option(
        "--database-url",
        metavar="URL",
        help="PostgreSQL to use, or embedded: for one of your own. Else ZART_DATABASE_URL, DATABASE_URL, "
        "then database-url under \\[tool.zart] in pyproject.toml.",
        rich_help_panel=_GLOBAL,
        show_default=False,
    ),
]
OutputOpt = Annotated[
    Format | None,
    typer.Option("-o", "--output", help="How to write data.", rich_help_panel=_GLOBAL, show_default="table"),
]
TimeOpt = Annotated[
    TimeStyle | None,
    typer.Option("--time", help="How tables write times.", rich_help_panel=_GLOBAL, show_default="relative"),
]
ConnectTimeoutOpt = Annotated[
    float | None,
    typer.Option(
        "--connect-timeout",
        metavar="DURATION",
        parser=parse_duration,
        help="Longest wait for a connection to the database.",
        rich_help_panel=_GLOBAL,
        show_default="5s",
    ),
]

ExecutionIdArg = Annotated[str, typer.Argument(metavar="ID", help="The execution's id.", show_default=False)]
ModulesArg = Annotated[
    list[str],
    typer.Argument(
        metavar="MODULE...",
        help="Modules with workflows: dotted names (the current directory is searched first) or paths of .py files.",
        show_default=False,
    ),
]
DataOpt = Annotated[
    str | None,
    typer.Option(
        "-d",
        "--data",
        metavar="JSON|@FILE|-",
        help="JSON as text, from a file or from stdin.",
        show_default=False,
    ),
]
WaitTimeoutOpt = Annotated[
    float | None,
    typer.Option(
        "--timeout",
        metavar="DURATION",
        parser=parse_duration,
        help="Longest wait, such as 90s; then exit with 124. The execution goes on.",
        show_default="no limit",
    ),
]
ReasonOpt = Annotated[
    str | None, typer.Option("--reason", help="Why; it is kept with what was done.", show_default=False)
]
TagsOpt = Annotated[
    list[str] | None,
    typer.Option("--tag", metavar="NAME=VALUE", help="A tag; may be repeated.", show_default=False),
]
