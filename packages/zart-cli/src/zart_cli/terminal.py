"""Text on a terminal or in a pipe: tables, colours where they are welcome, and no control characters of others."""

from __future__ import annotations

import re
import sys
from collections.abc import Sequence
from typing import TextIO

from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

_WIDE = 100_000
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")

STATE_STYLES = {
    "scheduled": "cyan",
    "running": "bold blue",
    "retrying": "yellow",
    "sleeping": "magenta",
    "waiting": "magenta",
    "paused": "yellow",
    "blocked": "bold yellow",
    "completed": "green",
    "failed": "bold red",
    "timed_out": "bold red",
    "cancelled": "bright_black",
    "pending": "yellow",
    "consumed": "green",
}

_MARKS = {
    "scheduled": ("·", "."),
    "running": ("▸", ">"),
    "retrying": ("↻", "~"),
    "sleeping": ("…", "-"),
    "waiting": ("…", "-"),
    "completed": ("✓", "+"),
    "failed": ("✗", "x"),
    "timed_out": ("✗", "x"),
    "cancelled": ("⊘", "o"),
}


def printable(text: str) -> str:
    """Return `text` with control characters written out, so that a message cannot steer the terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text.replace("\r\n", "\n"))


def state_text(state: str) -> Text:
    """Return a state in its colour."""
    return Text(state, style=STATE_STYLES.get(state, ""))


def mark(state: str, *, unicode: bool = True) -> Text:
    """Return the sign of a step's state."""
    sign = _MARKS.get(state, ("?", "?"))[0 if unicode else 1]
    return Text(sign, style=STATE_STYLES.get(state, ""))


def console(stream: TextIO | None = None) -> Console:
    """Return a console for `stream`; in a pipe nothing is cut, wrapped or coloured."""
    out = stream or sys.stdout
    on_terminal = out.isatty()
    return Console(
        file=out,
        width=None if on_terminal else _WIDE,
        highlight=False,
        markup=False,
        emoji=False,
        soft_wrap=not on_terminal,
    )


def speaks_unicode(stream: TextIO | None = None) -> bool:
    """Return whether the stream takes any character."""
    return (getattr(stream or sys.stdout, "encoding", None) or "").lower().replace("-", "").startswith("utf")


def table(titles: Sequence[str], rows: Sequence[Sequence[str | Text]]) -> RenderableType:
    """Return a table without lines: bold titles, two spaces between columns."""
    drawn = Table(box=None, pad_edge=False, show_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for number, title in enumerate(titles):
        drawn.add_column(title, overflow="fold", no_wrap=False, min_width=0 if number else 8)
    for row in rows:
        drawn.add_row(*(cell if isinstance(cell, Text) else Text(printable(cell)) for cell in row))
    return drawn


def draw(what: RenderableType, stream: TextIO | None = None) -> None:
    """Write to stdout; lines in a pipe do not end in spaces."""
    out = stream or sys.stdout
    to = console(out)
    if to.is_terminal:
        to.print(what)
        return
    with to.capture() as captured:
        to.print(what)
    out.write("".join(line.rstrip() + "\n" for line in captured.get().splitlines()))
