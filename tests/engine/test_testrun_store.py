"""The store in memory decides as the database does, also where a test's clock and worker cannot bring it about."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from zart_core import Registry, wait_for_event
from zart_core.items import CancelItem, EndItem, ParkItem, WaitItem
from zart_core.journal import Kind, Outcome
from zart_core.requests import start_request
from zart_core.testing.clock import Clock
from zart_core.testing.rows import Run, Task
from zart_core.testing.store import Store
from zart_core.testing.writes import write
from zart_decorators import durable

pytestmark = pytest.mark.anyio


@durable
async def hears() -> str:
    return await wait_for_event("word", str)


class Scene:
    """One run that a worker owns, and that waits for `word`."""

    def __init__(self, timeout: float | None = None) -> None:
        self.clock = Clock(asyncio.get_running_loop(), datetime(2026, 1, 1, tzinfo=UTC))
        self.store = Store(self.clock, Registry.of(hears))
        self.store.start(start_request(hears, b"{}", {"execution_id": "e"}))
        claimed = self.store.claim("worker")
        assert claimed is not None
        self.run: Run = claimed[0]
        self.wait("first", timeout)

    @property
    def owner(self) -> Any:
        return SimpleNamespace(id=self.run.run_id, epoch=self.run.epoch)

    def wait(self, identity: str, timeout: float | None = None) -> None:
        sequence = len(self.run.waits) + 1
        write(self.store, WaitItem(self.owner, f":{identity}#0", sequence, "word", None, timeout, sequence))

    def send(self, word: str) -> str:
        return self.store.deliver("e", "word", f'"{word}"'.encode(), None).status

    @property
    def mailbox(self) -> list[str | None]:
        """Which wait has which event."""
        return [event.consumed_by and event.consumed_by[1] for event in self.run.execution.events]


async def test_an_event_goes_to_the_oldest_wait_that_is_not_late() -> None:
    scene = Scene(timeout=10)
    scene.wait("second")
    scene.clock.move(10)
    assert scene.send("a") == "consumed"
    assert scene.mailbox == [":second#0"]
    scene.run.expire_waits(scene.clock.time())
    assert scene.run.steps[":first#0"].record.outcome is Outcome.TIMEOUT


async def test_the_event_of_a_cancelled_wait_goes_to_the_next_or_back_to_its_place() -> None:
    scene = Scene()
    scene.send("a")
    scene.wait("second")
    write(scene.store, CancelItem(scene.owner, ":first#0", 1, Kind.EVENT, turn=7))
    assert scene.mailbox == [":second#0"]
    write(scene.store, CancelItem(scene.owner, ":second#0", 2, Kind.EVENT, turn=8))
    assert scene.mailbox == [None]
    assert scene.run.steps[":first#0"].record.outcome is Outcome.CANCELLED


async def test_an_event_that_no_body_has_seen_returns_to_the_mailbox_with_the_end() -> None:
    scene = Scene()
    scene.send("a")
    write(scene.store, EndItem(scene.owner, "completed", b"null"))
    assert scene.mailbox == [None]
    assert scene.store.deliver("e", "word", b"1", None).status == "terminal"


async def test_an_event_that_has_a_turn_and_was_not_seen_returns_too() -> None:
    scene = Scene()
    scene.send("a")
    scene.store.give_turns(scene.run, 9)
    write(scene.store, EndItem(scene.owner, "completed", b"null", unseen=[":first#0"]))
    assert scene.mailbox == [None]


async def test_a_run_does_not_park_when_what_it_waits_for_has_come() -> None:
    scene = Scene()
    scene.send("a")
    assert write(scene.store, ParkItem(scene.owner, [":first#0"])).verdict == "unparked"
    assert scene.run.task is Task.ACTIVE
    scene.wait("second")
    assert write(scene.store, ParkItem(scene.owner, [":second#0"])).verdict == "parked"


async def test_nothing_is_written_by_an_epoch_that_is_over() -> None:
    scene = Scene()
    late = scene.owner
    scene.store.requeue()
    scene.store.claim("another")
    assert write(scene.store, EndItem(late, "completed", b"null")).verdict == "lost"
    assert scene.run.state == "live"
