"""The spawned steps of a run in memory: who claims them, and what befalls those who do."""

from __future__ import annotations

from contextvars import ContextVar, copy_context
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from zart_core.definition import registered_step
from zart_core.host import ClaimedStep, Held, Left
from zart_core.journal import Record
from zart_core.spawned import SpawnedStep
from zart_core.spawning import Task

if TYPE_CHECKING:
    from tests.support.memory_host import MemoryHost


spawned_var: ContextVar[SpawnedStep | None] = ContextVar("spawned", default=None)
"""The spawned step whose code runs."""


class MemorySpawned:
    """Claims whatever is ready, at once or somewhat later. A task's id is the identity of its call."""

    def __init__(self, host: MemoryHost) -> None:
        self._host = host
        self.owned: dict[str, SpawnedStep] = {}
        self.zombies: list[SpawnedStep] = []
        self.held: set[str] = set()
        """Names of steps that nobody claims for now."""

    @property
    def records(self) -> dict[str, Record]:
        return self._host.store.records

    def owns(self, step: Held) -> bool:
        task = self._host.store.spawned.get(step.id)
        return self.owned.get(step.id) is step and task is not None and task.epoch == step.epoch

    def look(self) -> None:
        """Claim what is ready, and end what nobody wants any more."""
        for step in list(self.owned.values()):
            if step.id not in self._host.store.spawned:
                step.lost()
        self._host.later(self._claim_all)

    def left(self, step: SpawnedStep, why: Left) -> None:
        if self.owned.get(step.id) is step:
            del self.owned[step.id]
        self._host.loop.call_soon(step.evict)
        if why is Left.ENDED:
            self._host.later(self._host.look_outside)
        self.look()

    def strike(self, step: SpawnedStep) -> None:
        """The worker of `step` dies, or it is taken over and does not know, or it hands its work back."""
        chaos = self._host.chaos
        assert chaos is not None
        fate = chaos.random.random()
        if fate < chaos.zombies:
            self.zombies.append(step)
            self.owned.pop(step.id, None)
            self.look()
        elif fate < chaos.zombies + chaos.drains:
            self._host.loop.call_soon(step.drain)
            self._host.later(step.abort_steps)
        else:
            self._host.loop.call_soon(step.lost)

    def drop(self) -> None:
        """Forget all that is in memory."""
        for step in [*self.owned.values(), *self.zombies]:
            step.lost()

    def _claim_all(self) -> None:
        host, now = self._host, self._host.loop.time()
        if host.ending is not None:
            return
        for identity, task in list(host.store.spawned.items()):
            if identity in self.owned or any(name in identity for name in self.held):
                continue
            if task.due_at is not None and task.due_at > now:
                host.loop.call_at(task.due_at + 0.0001, self._claim_all)
                continue
            task.due_at, task.epoch = None, task.epoch + 1
            task_ = Task.read(task.payload)
            claimed = ClaimedStep(
                task_id=identity,
                epoch=task.epoch,
                identity=identity,
                sequence=task.sequence,
                payload=task.payload,
                attempts=tuple(f for f in host.store.failures.values() if f.identity == identity),
                is_wanted=True,
                run_id=host.run_id,
                execution_id="test",
                run_index=0,
                workflow=host.workflow.name,
                version=host.workflow.version,
                queue="default",
                tags={},
                started_at=datetime(2026, 1, 1, tzinfo=UTC),
                deadline=None,
            )
            step = SpawnedStep(claimed, task_, registered_step(task_.step, task_.code), host)
            self.owned[identity] = step
            context = copy_context()
            context.run(spawned_var.set, step)
            context.run(step.begin)
