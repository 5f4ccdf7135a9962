"""Lets things happen: as much as happens by itself at one moment, and then the next moment."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from zart_core.answers import result_of
from zart_core.codec import Codec
from zart_core.details import execution_details
from zart_core.errors import ExecutionNotFound, WaitTimeout
from zart_core.records import ExecutionDetails, WaitingFor
from zart_core.registry import Registry
from zart_core.testing.clock import Clock
from zart_core.testing.reading import rows_of
from zart_core.testing.rows import Execution
from zart_core.testing.store import Store
from zart_core.testing.worker import Worker

log = logging.getLogger("zart")

PATIENCE = 0.1
"""Seconds of real time without any progress after which a step that still runs is waited for no longer."""

QUICK = 0.005
"""Seconds of real time for which the event loop is kept busy: most steps of tests take less."""

LOOK = 0.001
"""Seconds of real time between two looks at a step that takes longer."""

WARN_AFTER = 5.0
"""Seconds of real time after which a test that waits for a step is told so."""

MOST_JUMPS = 10_000
"""Timers that one wait for a result lets pass before it takes the execution for endless."""


class Stuck(AssertionError):
    """A test waits for a result that will never come: nothing is going on, and no timer is set."""

    def __init__(self, execution_id: str, reason: str) -> None:
        super().__init__(execution_id, reason)
        self.execution_id, self.reason = execution_id, reason

    def __str__(self) -> str:
        return f"execution {self.execution_id!r} will not end by itself: {self.reason}"


class Driver:
    """The clock, the store and the worker of one test."""

    def __init__(self, clock: Clock, registry: Registry, *, evict: bool) -> None:
        self.clock = clock
        self.store = Store(clock, registry)
        self.worker = Worker(clock, self.store, evict=evict)
        self._calls = 0

    async def settle(self) -> None:
        """Wait until nothing happens any more by itself at this moment, but for steps that take long."""
        with self._at_work():
            await self._settle(PATIENCE)

    async def advance(self, seconds: float) -> None:
        """Let `seconds` pass, timer by timer."""
        with self._at_work():
            end = self.clock.time() + seconds
            await self._settle(PATIENCE)
            while (when := self.clock.next()) is not None and when <= end:
                self.clock.move(when)
                await self._settle(PATIENCE)
            self.clock.move(end)
            await self._settle(PATIENCE)

    async def result(self, execution_id: str, codec: Codec | None, limit: float | None) -> object:
        """Wait for an execution to end and return its result; time jumps whenever nothing else goes on."""
        end, jumps = None if limit is None else self.clock.time() + limit, 0
        while True:
            await self._settle(PATIENCE if limit == 0 else limit)
            if (ending := self.store.ending(execution_id)) is not None:
                return result_of(ending, codec)
            if self._calls:
                await asyncio.sleep(0)
                continue
            when = self.clock.next()
            if end is not None and (when is None or when > end):
                self.clock.move(end)
                raise WaitTimeout(execution_id, limit or 0.0)
            if when is None:
                raise Stuck(execution_id, self._why(self.find(execution_id)))
            if jumps == MOST_JUMPS:
                raise Stuck(execution_id, f"{MOST_JUMPS:,} timers have passed, and it goes on and on")
            jumps += 1
            self.clock.move(when)

    @contextmanager
    def _at_work(self) -> Iterator[None]:
        """Let no result jump while another task of the test is at work here."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1

    async def _settle(self, patience: float | None) -> None:
        """Wait until nothing happens any more by itself at this moment.

        `patience`: seconds of real time without progress after which steps that still run are left alone; None waits
        for them however long they take.
        """
        time, seen, warned = self.clock.real.time, -1, False
        began = since = time()
        await asyncio.sleep(0)
        while self.clock.is_busy or self.worker.is_executing:
            now = time()
            if self.clock.moves != seen:
                seen, since = self.clock.moves, now
            elif patience is not None and now - since > patience and not self.clock.is_busy:
                return
            if not warned and now - began > WARN_AFTER:
                warned = True
                log.warning(
                    "the test has waited %.0f s for %s; no time passes meanwhile: env.advance(...) lets the timeout of "
                    "a step pass that waits for ever",
                    now - began,
                    ", ".join(self.worker.executing) or "a body that never waits",
                )
            await asyncio.sleep(0 if self.clock.is_busy or now - since < QUICK else LOOK)

    def find(self, execution_id: str) -> Execution:
        """Return an execution.

        Raises:
            ExecutionNotFound: There is none.
        """
        try:
            return self.store.executions[execution_id]
        except KeyError:
            raise ExecutionNotFound(execution_id) from None

    def details(self, execution_id: str) -> ExecutionDetails:
        """Return all that is known of an execution."""
        return execution_details(rows_of(self.store, self.find(execution_id)))

    def _why(self, execution: Execution) -> str:
        waits = self.details(execution.execution_id).waiting_for
        if not waits:
            return "its body waits for something in memory, which no step, event or timer will ever bring"
        return "; ".join(self._words(wait) for wait in waits)

    def _words(self, wait: WaitingFor) -> str:
        match wait.kind:
            case "event":
                return f"it waits for the event {wait.name!r}, which nobody has sent: send_event({wait.name!r}, ...)"
            case "worker":
                known = ", ".join(sorted({workflow.name for workflow in self.store.registry}))
                return f"workflow {wait.name!r} is not among the sources of TestRun, which are: {known}"
            case kind:
                return f"it waits for the {kind} {wait.name!r}"
