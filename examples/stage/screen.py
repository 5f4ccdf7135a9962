"""What people see: a live line for what is under way on a terminal, plain lines everywhere else."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console

Advance = Callable[[], None]


class Screen:
    """Plain lines, each with the seconds since the beginning."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    @property
    def elapsed(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self._began

    def say(self, text: str) -> None:
        """Show a line."""
        print(f"[{self.elapsed:5.1f} s] {text}", flush=True)

    def write(self, text: str = "") -> None:
        """Show a line as it is."""
        print(text, flush=True)

    @contextmanager
    def act(self, text: str, total: int = 0) -> Iterator[Advance]:
        """Show what is under way. Gives what to call for each of `total` things done."""
        del total
        self.say(text)
        yield lambda: None


class LiveScreen(Screen):
    """On a terminal: a spinner with a count, and a line that stays for everything that was done."""

    def __init__(self) -> None:
        super().__init__()
        self._console = Console(highlight=False)

    def say(self, text: str) -> None:
        self._console.print(f"  {text}", markup=False)

    def write(self, text: str = "") -> None:
        self._console.print(text, markup=False)

    @contextmanager
    def act(self, text: str, total: int = 0) -> Iterator[Advance]:
        began, count = time.monotonic(), 0

        def advance() -> None:
            nonlocal count
            count += 1
            status.update(f"{text} [bold]{count}[/] of {total}")

        with self._console.status(text) as status:
            yield advance
        self._console.print(f"[green]✓[/] {text} [dim]{time.monotonic() - began:.1f} s[/]")


def choose_screen() -> Screen:
    """Return the screen for this terminal, or for none."""
    speaks_unicode = (sys.stdout.encoding or "").lower().startswith("utf")
    if sys.stdout.isatty() and speaks_unicode:
        return LiveScreen()
    return Screen()
