"""What a worker has in memory: active runs and spawned steps, and the bodies of parked runs as a cache."""

from __future__ import annotations

from collections import OrderedDict

from zart_core.spi import ActiveRun, Held


class Bodies:
    """Tasks by id. At most `max_parked` parked ones are kept; the one that parked first goes first."""

    def __init__(self, max_parked: int) -> None:
        self.active: dict[str, Held] = {}
        self._max_parked = max_parked
        self._parked: OrderedDict[str, ActiveRun] = OrderedDict()

    @property
    def epochs(self) -> dict[str, int]:
        """The active tasks and the epochs by which they are owned."""
        return {run.id: run.epoch for run in self.active.values()}

    def leave(self, run: Held) -> None:
        """The task is not active any more."""
        if self.active.get(run.id) is run:
            del self.active[run.id]

    def collect(self, run_id: str) -> bool:
        """Have a run take in what has come for it; return False if it is not active here."""
        run = self.active.get(run_id)
        if not isinstance(run, ActiveRun):
            return False
        run.collect()
        return True

    def park(self, run: ActiveRun) -> None:
        """Keep a parked body, if it may be kept."""
        if not self._max_parked:
            run.host.loop.call_soon(run.evict)
            return
        self._parked[run.id] = run
        while len(self._parked) > self._max_parked:
            self._parked.popitem(last=False)[1].evict()

    def unpark(self, run_id: str, epoch: int) -> ActiveRun | None:
        """Take a parked body out of the cache, if it may go on by `epoch`: nobody has owned the run since it parked."""
        run = self._parked.pop(run_id, None)
        if run is not None and run.epoch + 1 != epoch:
            run.evict()
            return None
        return run

    def drop_all(self) -> None:
        """Drop everything: all this is another worker's, or may be (L4)."""
        for run in [*self.active.values(), *self._parked.values()]:
            run.lost()
        self._parked.clear()
