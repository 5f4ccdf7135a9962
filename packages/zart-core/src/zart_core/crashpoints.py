"""Named points at which a test may kill the process, to prove what survives.

`ZART_CRASH_AT=point[:step[#nth]]` arms one, only together with `ZART_TESTING=1`: the process gets SIGKILL when it
reaches the point (for that step, for the nth time, counted from 1). Unarmed, a point costs next to nothing.
Workers in memory are watched instead: `watcher` is told of every point that their steps reach.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Trap:
    """Where to die. `left` counts down to the fatal visit."""

    point: str
    step: str | None
    left: int

    @staticmethod
    def parse(text: str) -> Trap:
        """Return the trap that `point[:step[#nth]]` describes."""
        point, _, rest = text.partition(":")
        step, _, nth = rest.partition("#")
        return Trap(point, step or None, int(nth or 1))

    def springs(self, point: str, step: str | None) -> bool:
        """Return whether this visit is the fatal one."""
        if point != self.point or (self.step is not None and step != self.step):
            return False
        self.left -= 1
        return self.left == 0


def armed(environment: Mapping[str, str]) -> Trap | None:
    """Return the trap that the environment asks for, if it may."""
    text = environment.get("ZART_CRASH_AT")
    return Trap.parse(text) if text and environment.get("ZART_TESTING") == "1" else None


_trap = armed(os.environ)


watcher: ContextVar[Callable[[str, str | None], None] | None] = ContextVar("zart_crash_watcher", default=None)
"""Called in place of dying, where a worker is no process of its own; it may raise to end the step."""


def reach(point: str, step: str | None = None) -> None:
    """Die here, if the environment asked for it."""
    if _trap is not None and _trap.springs(point, step):
        os.kill(os.getpid(), signal.SIGKILL)
    if (watch := watcher.get()) is not None:
        watch(point, step)
