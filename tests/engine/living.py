"""Run a body on a host in memory, on a clock that jumps, and tell what came of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from tests.support import virtual_time
from tests.support.memory_host import MemoryHost
from tests.support.memory_store import MemoryStore
from tests.support.virtual_time import InlineExecutor

from zart_core import DivergenceDetails, Failure, Step, Workflow, divergence, faults
from zart_core.executor import ActiveRun
from zart_core.items import Item
from zart_core.journal import Record

Body = Callable[..., Awaitable[Any]]
Script = Callable[[MemoryHost], Awaitable[None]]

ledger: list[str] = []
"""What steps did, outside the engine. Emptied at each new life."""

started: list[str] = []
"""Identities of the calls that were begun, in order. Emptied at each new life."""


class _Watched(ActiveRun):
    def _start_next(self) -> bool:
        if self._pending and not self._leaving:
            started.append(next(iter(self._pending)))
        return super()._start_next()


@dataclass
class Life:
    """How a run ended."""

    state: str
    payload: bytes | None
    host: MemoryHost

    @property
    def store(self) -> MemoryStore:
        return self.host.store

    @property
    def records(self) -> dict[str, Record]:
        return self.host.store.records

    @property
    def value(self) -> Any:
        """What the body returned."""
        assert self.state == "completed", self.failure if self.state == "failed" else self
        assert self.payload is not None
        return json.loads(self.payload)

    @property
    def failure(self) -> Failure:
        """What the body raised."""
        assert self.state == "failed", self
        assert self.payload is not None
        return faults.failure(self.payload)

    @property
    def reason(self) -> str:
        """Why it is blocked or was cancelled."""
        assert self.payload is not None
        if self.state == "blocked":
            return self.divergence.reason
        return str(json.loads(self.payload))

    @property
    def divergence(self) -> DivergenceDetails:
        """All that is told of why it is blocked."""
        assert self.state == "blocked", self
        assert self.payload is not None
        return divergence.load(self.payload)


def live(
    body: Body | Workflow[..., Any],
    *args: Any,
    script: Script | None = None,
    store: MemoryStore | None = None,
    evict: bool = False,
) -> Life:
    """Run `body` to its end; `script` acts from outside meanwhile."""
    ledger.clear()
    started.clear()

    async def main() -> Life:
        host = MemoryHost(workflow_of(body), *args, evict=evict, store=store, threads=InlineExecutor())
        host.make_run, host.patience = _Watched, 10 * 86400
        host.claim()
        if script is not None:
            await script(host)
        try:
            state, payload = await host.finish()
        finally:
            host.close()
        return Life(state, payload, host)

    return virtual_time.run(main())


def replay(life: Life, body: Body | Workflow[..., Any] | None = None, **options: Any) -> Life:
    """Run the same body, or another, over the complete journal of `life`."""
    store = life.store.copy()
    store.ending = None
    return live(body or life.host.workflow, store=store, **options)


def crash_after(records: int) -> Script:
    """Kill the worker once, when that many outcomes are recorded; what was begun until then is forgotten."""

    async def script(host: MemoryHost) -> None:
        first = host.epoch

        def look(_: Item) -> None:
            if host.epoch == first and len(host.records) >= records and host.ending is None:
                host.loop.call_soon(die)

        def die() -> None:
            if host.epoch == first and host.run is not None:
                host.kill()
                started.clear()
                host.claim()

        host.after_flush = look
        if records == 0:
            die()

    return script


def workflow_of(body: Body | Workflow[..., Any]) -> Workflow[..., Any]:
    """Return `body` as a workflow."""
    return body if isinstance(body, Workflow) else Workflow(body, "test")


async def _note(text: str) -> str:
    ledger.append(text)
    return text


async def _bare() -> int:
    ledger.append("bare")
    return len(ledger)


note: Step[[str], str] = Step(_note, "note")
bare: Step[[], int] = Step(_bare, "bare")
