"""Data on stdout in the format that was asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rich.console import RenderableType
from rich.text import Text

from zart_cli import settings
from zart_cli.plain import to_json, to_plain
from zart_cli.reporting import say
from zart_cli.settings import Format
from zart_cli.terminal import draw, table
from zart_cli.yaml import to_yaml

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Column(Generic[T]):
    """One column of a table. `optional` ones are left out where no row has anything to say."""

    title: str
    cell: Callable[[T], str | Text]
    optional: bool = False


def show_list(
    items: Sequence[T], columns: Sequence[Column[T]], id_of: Callable[[T], str], *, nothing: str
) -> None:
    """Write a list; an empty table says `nothing` on stderr instead."""
    match settings.current().output:
        case Format.TABLE:
            draw_table(items, columns, nothing=nothing)
        case Format.ID:
            write("".join(f"{id_of(item)}\n" for item in items))
        case Format.JSONL:
            write("".join(f"{to_json(item, indent=None)}\n" for item in items))
        case Format.JSON:
            write(to_json(list(items)) + "\n")
        case Format.YAML:
            write(to_yaml(to_plain(list(items))))


def show_one(item: T, text: Callable[[T], None], id_of: Callable[[T], str]) -> None:
    """Write one record; `text` draws it for people."""
    match settings.current().output:
        case Format.TABLE:
            text(item)
        case Format.ID:
            write(f"{id_of(item)}\n")
        case _:
            show_value(item)


def show_value(value: Any) -> None:
    """Write a value that is JSON to people too, such as a result."""
    match settings.current().output:
        case Format.YAML:
            write(to_yaml(to_plain(value)))
        case Format.JSONL:
            write(to_json(value, indent=None) + "\n")
        case _:
            write(to_json(value) + "\n")


def draw_table(items: Sequence[T], columns: Sequence[Column[T]], *, nothing: str) -> None:
    """Draw a table without the optional columns that would be empty."""
    if not items:
        say(nothing)
        return
    draw(drawn(items, columns))


def drawn(items: Sequence[T], columns: Sequence[Column[T]]) -> RenderableType:
    """Return the table of `items`."""
    rows = [[column.cell(item) for column in columns] for item in items]
    kept = [n for n, column in enumerate(columns) if not column.optional or any(str(row[n]) for row in rows)]
    return table([columns[n].title for n in kept], [[row[n] for n in kept] for row in rows])


def write(text: str) -> None:
    """Write to stdout."""
    sys.stdout.write(text)
