"""Why a run is blocked, as people read it: what is recorded, what today's code does, and what repairs it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any

from rich.table import Table
from rich.text import Text

from zart_cli.terminal import printable
from zart_core import CurrentCall, DivergenceDetails, RecordedCall

_DIM = "bright_black"
_DIGEST = 8


def draw_divergence(details: DivergenceDetails, moment: Callable[[datetime], str]) -> Iterator[Any]:
    """Yield both sides, the likely cause and the remedies; `moment` writes a time."""
    yield Text.assemble((f"{details.code}: ", "bold yellow"), (printable(details.reason), "yellow"))
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=_DIM)
    grid.add_column(overflow="fold")
    for name, text in _sides(details, moment):
        grid.add_row(f"  {name}", Text(printable(text)))
    yield grid
    for number, remedy in enumerate(details.remedies):
        yield Text.assemble(
            (f"{'repair:' if number == 0 else 'or:':<8}", _DIM),
            (printable(remedy.command), "bold"),
            (f"  {printable(remedy.effect)}", _DIM),
        )


def _sides(details: DivergenceDetails, moment: Callable[[datetime], str]) -> Iterator[tuple[str, str]]:
    if details.recorded is not None:
        yield "recorded", _recorded(details.recorded, moment)
    if details.current is not None:
        yield "today's code", _current(details.current)
    yield "likely cause", details.cause


def _recorded(call: RecordedCall, moment: Callable[[datetime], str]) -> str:
    when = f" {moment(call.completed_at)}" if call.completed_at is not None else ""
    by = f" by {call.worker}" if call.worker else ""
    return f"{call.kind} {call.name} ({call.identity}), {call.outcome}{when}{by}{_digest(call.args)}"


def _current(call: CurrentCall) -> str:
    arguments = call.arguments or ""
    return f"{call.kind} {call.name}{arguments} ({call.identity}) at {call.where}{_digest(call.args)}"


def _digest(args: str | None) -> str:
    return f", arguments {args[:_DIGEST]}" if args else ""
