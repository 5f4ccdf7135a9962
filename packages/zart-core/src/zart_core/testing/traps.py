"""Where a test kills the worker in memory. Pure."""

from __future__ import annotations

from typing import Final

from zart_core.crashpoints import Trap
from zart_core.errors import UsageError

POINTS: Final = (
    "before-claim",
    "after-claim",
    "before-step",
    "after-effect",
    "before-commit",
    "after-commit",
    "before-park",
    "after-park",
    "before-complete",
    "after-complete",
)
"""The points that a worker in memory passes."""


class Traps:
    """The traps that are set; each springs once."""

    def __init__(self) -> None:
        self._set: list[tuple[str, Trap]] = []

    def set(self, text: str) -> None:
        """Set the trap that `point[:step[#nth]]` describes.

        Raises:
            UsageError: There is no such point, or its number is none.
        """
        try:
            trap = Trap.parse(text)
        except ValueError:
            raise UsageError(f"{text!r} must be point[:step[#nth]], with a number after `#`") from None
        if trap.point not in POINTS or trap.left < 1:
            raise UsageError(f"there is no crash point {text!r}; the points are {', '.join(POINTS)}")
        self._set.append((text, trap))

    def spring(self, point: str, step: str | None = None) -> bool:
        """Return whether the worker dies here. Every trap counts the visit, but one at most is used up by it."""
        sprung = None
        for entry in self._set:
            trap = entry[1]
            if (trap.left > 1 or sprung is None) and trap.springs(point, step):
                sprung = entry
        if sprung is not None:
            self._set.remove(sprung)
        return sprung is not None

    @property
    def unsprung(self) -> list[str]:
        """The traps that nothing has come to."""
        return [text for text, _ in self._set]
