"""Tasks whose workers died twice in a row or more: tried one at a time, by a worker that claims nothing else meanwhile.

So the next death tells who causes it, and takes no neighbours along. The trial is over when the run has recorded
something, has parked or ended, or has run for TRIAL seconds; after that its worker's death does not count against it.
"""

from __future__ import annotations

from zart_core.spi import Held

TRIAL = 60.0
"""Most seconds for which a worker claims nothing beside a suspect."""


class Suspects:
    """Whether one worker has a run on trial, and when it looks for the next."""

    def __init__(self) -> None:
        self.run: Held | None = None
        """The run on trial."""
        self.is_wanted = False
        """Whether to look for one with the next claim."""
        self._epoch = 0
        self._until = 0.0

    def look(self) -> None:
        """A poll is due. Hints do not ask for suspects: looking costs a round trip, and they have waited before."""
        self.is_wanted = self.run is None

    def begin(self, run: Held | None, now: float) -> None:
        """Put a claimed run on trial, if it is in memory still."""
        self.is_wanted = False
        self.run = run
        if run is not None:
            self._epoch, self._until = run.epoch, now + TRIAL

    def release(self, now: float) -> Held | None:
        """End the trial if it is over; return the run if it was time that ended it."""
        run = self.run
        if run is None:
            return None
        is_past = run.gone is not None or run.epoch != self._epoch or run.has_recorded
        if is_past or now >= self._until:
            self.run = None
        return None if is_past or self.run is not None else run
