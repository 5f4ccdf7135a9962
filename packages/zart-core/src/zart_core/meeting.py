"""How the calls of one run meet what it has recorded, and what is done where the two do not fit (L10)."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from zart_core import divergence
from zart_core.call import Call
from zart_core.journal import Record
from zart_core.replay import Diverged, Execute, Recorded, Wait, decide, identify, renamed

if TYPE_CHECKING:
    from zart_core.executor import ActiveRun

log = logging.getLogger("zart")

_SHOWN = 10


class Meeting:
    """Decides for a run what each of its calls means, and stops the run at the first that does not fit."""

    def __init__(self, run: ActiveRun) -> None:
        self._run = run
        self._unproven: set[str] = set()
        """Calls without a record that may have one by another name."""

    def meet(self, call: Call[Any]) -> Execute | Wait | Recorded | None:
        """Return what to do with `call`; None: the run has been stopped."""
        run, journal = self._run, self._run.journal
        call.identity = identify(journal, call)
        decision = decide(journal, call, run.workflow.on_divergence)
        if isinstance(decision, Diverged):
            self._stop(decision, call)
            return None
        if isinstance(decision, Execute):
            if journal.has_unmet:
                self._unproven.add(call.identity)
        elif decision.doubt is not None:
            log.warning("%r: %s", run, decision.doubt)
        journal.meet(call.identity)
        return decision

    def may_start(self, call: Call[Any]) -> bool:
        """Return whether `call`, about to start, is new for all that is known; if not, the run has been stopped.

        Asked once for each call: when it is tried again, other records may be the next that no call has met.
        """
        if call.identity not in self._unproven:
            return True
        self._unproven.discard(call.identity)
        run = self._run
        found = renamed(run.journal, call, run.open_calls.values(), is_settled=run.loop.is_quiescent)
        if found is not None:
            self._stop(found, call)
        return found is None

    def cannot_read(self, call: Call[Any], record: Record, problem: str) -> None:
        """Stop the run: today's code cannot read the record of `call`."""
        self._stop(divergence.unreadable(record, problem), call)

    def orphans(self) -> list[str]:
        """Return the records that no call has met; asked when the body is over."""
        found = self._run.journal.unmet()
        if found:
            shown = ", ".join(found[:_SHOWN])
            log.warning("%r ended with %d records that no call has met: %s", self._run, len(found), shown)
        return found

    def _stop(self, found: Diverged, call: Call[Any]) -> None:
        run = self._run
        run.block(divergence.explain(found, call, run.execution_id, run.journal.identities()))
