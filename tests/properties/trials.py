"""One random program after another: lived through under chaos, replayed, continued from crashes, and checked.

What must hold, for each: before a pass begins new work it has seen all that any pass before it saw, in that order; each
pass saw a beginning of what the replay of the complete journal sees; that replay begins nothing and ends the same; no
step begins after its record, twice in a claim, or after the body gave it up in an earlier pass; what a step writes in
its own transaction is there once, with its record, or not at all; turns never change; an event is consumed only by its
record, none by a cancelled wait, and none lies beside an open wait; no child is started twice, after its call was given
up in an earlier pass, or lives on when it was given up; nothing is stuck.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.properties import programs, world
from tests.properties.programs import Node
from tests.properties.world import WatchedRun, World
from tests.support.memory_host import RUN_ID, Chaos, MemoryHost
from tests.support.memory_store import MemoryStore
from tests.support.virtual_time import InlineExecutor

from zart_core import Workflow, faults
from zart_core.executor import TURN_BITS, ActiveRun
from zart_core.identity import idempotency_key
from zart_core.items import ChildItem, Item
from zart_core.journal import Outcome


@dataclass
class Found:
    """What one seed came to."""

    seed: int
    program: Node
    violations: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)


async def trial(seed: int, host_type: type[MemoryHost] = MemoryHost) -> Found:
    """Live one random program, replay it, and continue it from two of its crashes."""
    chance = random.Random(seed)
    program = ("seq", False, [programs.make(chance) for _ in range(chance.randrange(1, 4))])
    return await _lived(Found(seed, program), chance, host_type)


async def mailbox_trial(seed: int, host_type: type[MemoryHost] = MemoryHost) -> Found:
    """The same with a program of waits for one name, of which races cancel some."""
    chance = random.Random(seed)
    program = ("seq", False, [programs.make_waits(chance) for _ in range(3)])
    return await _lived(Found(seed, program), chance, host_type)


async def _lived(found: Found, chance: random.Random, host_type: type[MemoryHost]) -> Found:
    program = found.program
    life = Life(program, chance, host_type)
    await life.live()
    found.violations += life.violations()
    found.counts += life.counts()
    for crash in life.crashes:
        if found.violations:
            break
        later = Life(program, chance, host_type, crash)
        await later.live()
        found.violations += [f"after a crash: {text}" for text in later.violations()]
    return found


async def order_free_trial(seed: int, host_type: type[MemoryHost] = MemoryHost) -> Found:
    """Live a program where it does not matter who is first; replay it, delayed otherwise, and with one step more."""
    chance = random.Random(seed)
    program = ("seq", False, [programs.make_order_free(chance) for _ in range(2)])
    found = Found(seed, program)
    life = Life(program, chance, host_type)
    life.world.may_fail = False
    await life.live(replay=False)
    found.violations += life.violations()
    for edited in (program, programs.insert(chance, program)):
        later = Life(edited, chance, host_type, Crash(life.store.copy(), []))
        later.world.may_fail, later.store.ending = False, None
        await later.live(replay=False)
        found.violations += [f"with more: {text}" for text in later.violations()]
        names = {effect.name for effect in later.world.ledger}
        if names - {"new"} or (edited is not program and not names):
            found.violations.append(f"over a complete journal, {names} began")
        if later.store.ending != life.store.ending:
            found.violations.append(f"ended as {life.store.ending}, then as {later.store.ending}")
    found.counts += life.counts()
    return found


async def stopped_trial(seed: int) -> Found:
    """Cancel a random program at a random moment: no step begins any more, and it ends."""
    chance = random.Random(seed)
    program = ("seq", False, [programs.make(chance) for _ in range(3)])
    found, life = Found(seed, program), Life(program, chance, MemoryHost)
    world.enter(life.world)
    host = life._host(life.store, Chaos(seed, kills=0.0))
    host.on_claim = life._begins
    host.claim()
    await asyncio.sleep(chance.random() * 0.05)
    host.stop()
    begun = len(life.world.ledger)
    try:
        state, _ = await host.finish()
    except TimeoutError:
        state = "stuck"
    finally:
        host.close()
    if state not in ("cancelled", "completed", "failed"):
        found.violations.append(f"it ended as {state}")
    # Spawned steps are other workers' tasks: those go when the run has ended, a moment after the cancel was asked for.
    after = [effect for effect in life.world.ledger[begun:] if effect.epoch >= 0]
    if state == "cancelled" and after:
        found.violations.append(f"after the cancel began {after}")
    found.counts[state] += 1
    return found


@dataclass
class Crash:
    """What the database held at a moment, and what the body had seen by then."""

    store: MemoryStore
    seen: list[Any]


class Life:
    """All passes over one run, to its end, and the replay of what it left."""

    def __init__(
        self, program: Node, chance: random.Random, host_type: type[MemoryHost], crash: Crash | None = None
    ) -> None:
        self.program, self.chance, self.host_type = program, chance, host_type
        self.world = World(random.Random(chance.random()))
        self.crashes: list[Crash] = []
        self.store = crash.store if crash is not None else MemoryStore()
        self._is_whole = crash is None
        self._start, self._seen = self.store.epoch, crash.seen if crash is not None else []
        self._turns = {i: r.turn for i, r in self.store.records.items() if r.turn is not None}

    async def live(self, *, replay: bool = True) -> None:
        """Run to the end under chaos, then replay the complete journal."""
        world.enter(self.world)
        host = self._host(self.store, Chaos(self.chance.randrange(2**32), **self._temper()))
        host.after_flush = self._look
        self.store.on_unsee = self._unseen
        host.on_claim = self._begins
        sender = asyncio.create_task(self._send(host))
        try:
            await host.finish()
        except TimeoutError:
            self.world.fail(f"stuck: {host.left_as}, waits {host.store.waits}, {self.program}")
        finally:
            sender.cancel()
            host.close()
        if self.store.ending is not None and replay:
            await self._replay()

    async def _replay(self) -> None:
        before = self.world
        world.enter(World(random.Random(0), may_start=False))
        ending, again = self.store.ending, self.store.copy()
        again.ending = None
        host = self._host(again, None)
        host.on_claim = lambda run: world.the_world().traces.update({run: []})
        try:
            replayed = await host.finish()
        except TimeoutError:
            before.fail("the replay of the complete journal does not end")
            return
        finally:
            host.close()
        if _outcome(replayed) != _outcome(ending):
            before.fail(f"ended as {_outcome(ending)}, the replay as {_outcome(replayed)}")
        before.violations += world.the_world().violations
        (whole,) = world.the_world().traces.values()
        for trace in before.traces.values():
            if whole[: len(trace)] != trace:
                at = world.first_difference(trace, whole)
                before.fail(
                    f"a pass saw {trace[at : at + 2]} where the replay saw {whole[at : at + 2]}, at {at}"
                )

    def violations(self) -> list[str]:
        """Return what is wrong."""
        found, records = list(self.world.violations), self.store.records
        keys = {idempotency_key(RUN_ID, identity): record for identity, record in records.items()}
        for effect in self.world.ledger:
            record = keys.get(effect.key)
            if record is not None and record.turn is not None and record.turn >> TURN_BITS < effect.epoch:
                found.append(f"{record.identity} began in claim {effect.epoch}, after its record")
        for identity, mail in self.store.consumed.items():
            record = records.get(identity)
            if record is None or record.outcome is not Outcome.OK or record.payload != mail.payload:
                found.append(f"event {mail.number} was consumed, but not by the record of {identity}")
            if self.world.has_given_up(idempotency_key(RUN_ID, identity)):
                found.append(f"event {mail.number} was consumed by {identity}, which the body had cancelled")
            if self._is_whole and self.store.ending is not None and identity not in self.world.delivered:
                found.append(f"event {mail.number} is lost: {identity} has it, and no body has seen that")
        for identity in {identity for identity in self.store.born if self.store.born.count(identity) > 1}:
            found.append(f"{identity} has started two children")
        for identity in self.store.children:
            if identity in records:
                found.append(f"the child of {identity} lives beside its record")
        paid = [
            idempotency_key(RUN_ID, identity)
            for identity, record in records.items()
            if "paid" in identity and record.outcome is Outcome.OK
        ]
        if sorted(self.store.effects) != sorted(paid):
            found.append(f"effects {self.store.effects} beside records {paid}")
        if self.store.ending is not None and self.store.ending[0] == "blocked":
            found.append(f"blocked: {self.store.ending[1]!r}")
        return found

    def counts(self) -> Counter[str]:
        """Return how much happened."""
        kinds = Counter({f"has {kind}": 1 for kind in set(programs.kinds_of(self.program))})
        more = {"passes": len(self.world.traces), "records": len(self.store.records), "runs": 1}
        more["claims"] = self.store.epoch - self._start
        return kinds + self.world.counts + Counter(more)

    def _host(self, store: MemoryStore, chaos: Chaos | None) -> MemoryHost:
        program = self.program

        async def body() -> int:
            return await programs.run(program)

        seed = self.chance.randrange(2**32)
        host = self.host_type(
            Workflow(body, "random"), seed=seed, chaos=chaos, store=store, threads=InlineExecutor()
        )
        host.make_run = WatchedRun
        host.child_life = self._child
        world.the_world().spawned = host.spawned
        return host

    def _child(self, identity: str) -> tuple[float, Outcome, bytes]:
        """Say when and how a child ends."""
        chance, seconds = self.chance.random(), self.chance.random() * 0.02
        if chance < 0.15:
            return seconds, Outcome.CANCELLED_ELSEWHERE, b'"by somebody"'
        if chance < 0.3:
            return seconds, Outcome.ERROR, faults.record(ValueError(self.chance.randrange(1000)))
        return seconds, Outcome.OK, str(self.chance.randrange(1000)).encode()

    def _temper(self) -> dict[str, Any]:
        chance = self.chance
        return {
            "delay": chance.choice((0.0, 0.001, 0.006)),
            "flights": chance.choice((1, 1, 3)),
            "workers": chance.choice((1, 2, 3)),
            "busy": chance.choice((0.0, 0.2)),
            "evict": chance.choice((0.0, 0.5, 1.0)),
            "kills": chance.choice((0.0, 0.02, 0.1)),
        }

    async def _send(self, host: MemoryHost) -> None:
        while True:
            await asyncio.sleep(self.chance.random() * 0.02)
            host.send(self.chance.choice("xy"), str(self.chance.randrange(1000)).encode())

    def _begins(self, run: ActiveRun) -> None:
        if not self.world.traces and self._seen:
            self.world.traces[ActiveRun.__new__(ActiveRun)] = self._seen  # what was seen before the crash
        self.world.traces.setdefault(run, [])

    def _unseen(self, identities: list[str]) -> None:
        if wrong := self.world.delivered & set(identities):
            self.world.fail(f"{wrong} were delivered and are given back")
        for identity in identities:
            self._turns.pop(identity, None)
        self.world.counts["unseen"] += len(identities)

    def _look(self, item: Item) -> None:
        if isinstance(item, ChildItem):
            self.world.started_child(item.run, item.identity)
        for identity, record in self.store.records.items():
            known = self._turns.setdefault(identity, record.turn) if record.turn is not None else None
            if known != record.turn:
                self.world.fail(f"the turn of {identity} changed")
        for identity, wait in self.store.waits.items():
            if any(mail.name == wait.name for mail in self.store.mailbox) and wait.deadline is None:
                self.world.fail(f"{identity} waits beside its event")
        if not self._seen and len(self.crashes) < 2 and self.chance.random() < 0.1:
            seen = max(self.world.traces.values(), key=len)
            self.crashes.append(Crash(self.store.copy(), list(seen)))


def _outcome(ending: tuple[str, bytes | None] | None) -> tuple[str, str]:
    if ending is None or ending[1] is None or ending[0] != "failed":
        return str(ending), ""
    return ending[0], str(faults.failure(ending[1]))
