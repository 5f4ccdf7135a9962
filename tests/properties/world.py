"""What random programs meet and leave behind, outside the engine: a ledger of effects, and a trace for each pass.

A pass is one `ActiveRun`: one body, from its start until its worker is gone.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass, field

from tests.support.memory_host import RUN_ID
from tests.support.memory_spawned import MemorySpawned, spawned_var

from zart_core.current import body_var, context
from zart_core.executor import ActiveRun
from zart_core.identity import idempotency_key


@dataclass
class Effect:
    """One start of a step's code."""

    key: str
    name: str
    attempt: int
    epoch: int


@dataclass
class World:
    """One program's life over all its passes."""

    random: random.Random
    traces: dict[ActiveRun, list[Hashable]] = field(default_factory=dict)
    ledger: list[Effect] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    may_start: bool = True
    may_fail: bool = True
    delivered: set[str] = field(default_factory=set)
    """Identities of the calls whose outcome was handed to some body."""
    spawned: MemorySpawned | None = None
    _given_up: dict[str, int] = field(default_factory=dict)
    _checked: set[tuple[ActiveRun, int]] = field(default_factory=set)

    # -- chance, for steps

    def chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def pause(self) -> float:
        return self.random.choice((0.0, self.random.random() * 0.003, self.random.random() * 0.012))

    def value(self) -> int:
        value = self.random.randrange(1000)
        if value % 13 == 0 and self.may_fail:
            raise ValueError(value)
        return value

    # -- what happened

    def effect(self) -> None:
        """A step's code has begun."""
        run, now = body_var.get(), context()
        assert now.idempotency_key is not None
        assert now.attempt is not None
        assert now.step_name is not None
        epoch = run.epoch if run is not None else self._spawned_epoch()
        effect = Effect(now.idempotency_key, now.step_name, now.attempt, epoch)
        if effect in self.ledger:
            self.fail(f"{now.step_name} began twice in one claim")
        if run is not None and self._given_up.get(effect.key, run.epoch) < run.epoch:
            self.fail(f"{now.step_name} began after an earlier pass had cancelled it")
        self.ledger.append(effect)
        self.counts["effects"] += 1

    def started_child(self, run: ActiveRun, identity: str) -> None:
        """A run has asked for a child to be started."""
        if self._given_up.get(idempotency_key(RUN_ID, identity), run.epoch) < run.epoch:
            self.fail(f"{identity} asks for a child after an earlier pass had cancelled it")
        self.counts["children"] += 1

    def _spawned_epoch(self) -> int:
        """Return the epoch of the spawned step that has begun, below zero: it is none of the body's."""
        step = spawned_var.get()
        assert step is not None
        assert self.spawned is not None
        if self.spawned.owns(step) and step.id in self.spawned.records:
            self.fail(f"{step} began after its record")
        self.counts["spawned"] += 1
        return -step.epoch

    def cancelled(self, identity: str) -> None:
        """The body gave a call up."""
        run = body_var.get()
        if run is not None and is_alive(run):
            self.counts["cancelled"] += 1
            self._given_up.setdefault(idempotency_key(RUN_ID, identity), run.epoch)

    def has_given_up(self, key: str) -> bool:
        """Return whether some pass cancelled that call."""
        return key in self._given_up

    def observe(self, what: Hashable) -> None:
        """The body saw something."""
        run = body_var.get()
        if run is not None and is_alive(run):
            self.traces[run].append(what)

    def about_to_start(self, run: ActiveRun, name: str) -> None:
        """`run` begins new work: by now it must have seen whatever any pass before it saw, in the same order."""
        if run._draining:
            self.fail(f"{name} begins although the worker drains")
        if not self.may_start:
            self.fail(f"the replay of a complete journal begins {name}")
        if (run, run.epoch) in self._checked:
            return
        self._checked.add((run, run.epoch))
        mine = self.traces[run]
        for other in self.traces.values():
            if mine[: len(other)] != other:
                at = first_difference(mine, other)
                self.fail(
                    f"a pass begins {name} after it saw {mine[at : at + 2]}, another saw {other[at : at + 2]} at {at}"
                )
                return

    def fail(self, text: str) -> None:
        self.violations.append(text)


class WatchedRun(ActiveRun):
    """Tells the world before it starts anything, and what it delivers."""

    def _start_next(self) -> bool:
        if self._pending and not self._leaving:
            the_world().about_to_start(self, next(iter(self._pending)))
        return super()._start_next()

    def _deliver_next(self) -> bool:
        waiting = set(self._delivery.waiting)
        found = super()._deliver_next()
        the_world().delivered |= waiting - set(self._delivery.waiting)
        return found


def is_alive(run: ActiveRun) -> bool:
    """Return whether what the body does still counts."""
    return run._unwinding.signal is None


def first_difference(one: list[Hashable], other: list[Hashable]) -> int:
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


_world: World | None = None


def enter(world: World) -> None:
    """Make `world` the one that programs meet."""
    global _world
    _world = world


def the_world() -> World:
    assert _world is not None
    return _world


def observe(what: Hashable) -> None:
    the_world().observe(what)


async def jitter() -> None:
    """Let others go first, a random number of times, another one at each pass: not recorded, so not to be relied on."""
    for _ in range(the_world().random.randrange(4)):
        await asyncio.sleep(0)
