"""What comes to a run from outside: when to look for it, and the asking."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from zart_core.items import CollectItem

if TYPE_CHECKING:
    from zart_core.executor import ActiveRun

SHORTEST = 0.001
"""Seconds before a look at the earliest, in case the store's clock is a little behind."""

PAUSE = 0.05
"""Seconds before a run asks to be parked again that was refused and then found nothing new."""


class Outside:
    """Asks the store for outcomes that have come from outside: once at a time, and when the next is due."""

    def __init__(self, run: ActiveRun) -> None:
        self._run = run
        self._asking = False
        self._look: asyncio.TimerHandle | None = None
        self._refused = 0
        self._pause: asyncio.TimerHandle | None = None

    def unparked(self) -> None:
        """The run was not parked: something has come, or somebody wants something of it."""
        self._refused += 1

    def has_moved(self) -> None:
        """Something was delivered or begun since."""
        self._refused = 0
        self._end_pause()

    def may_park(self) -> bool:
        """Return whether to ask for a park now; if not, the run is woken to ask a little later."""
        if self._pause is not None:
            return False
        if self._refused <= 1:
            return True
        self._refused = 1
        self._pause = self._run.host.loop.call_later(PAUSE, self._ask_again)
        return False

    def _ask_again(self) -> None:
        self._end_pause()
        self._run.advance()

    def _end_pause(self) -> None:
        if self._pause is not None:
            self._pause.cancel()
            self._pause = None

    def collect(self) -> None:
        """Ask now, unless an answer is on its way."""
        if not self._asking:
            self._asking = True
            self._run.put(CollectItem(self._run))

    def collected(self, seconds: float | None) -> None:
        """All that has come has a turn now; the next is due in `seconds`."""
        self._asking = False
        if seconds is not None:
            self.look_in(seconds)

    def look_in(self, seconds: float) -> None:
        """Ask again in `seconds`, if that is not to happen earlier anyway."""
        loop = self._run.host.loop
        when = loop.time() + max(seconds, SHORTEST)
        if self._look is not None:
            if not self._look.cancelled() and loop.time() <= self._look.when() <= when:
                return
            self._look.cancel()
        self._look = loop.call_at(when, self._run.collect)

    def stop(self) -> None:
        """The run is not this worker's any more: ask nothing."""
        self._asking = False
        self._end_pause()
        if self._look is not None:
            self._look.cancel()
            self._look = None
