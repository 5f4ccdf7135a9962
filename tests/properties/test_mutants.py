"""The harness finds what it is there to find: bugs planted in engine and host, which the random programs must show."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from tests.properties.trials import Found, mailbox_trial, order_free_trial, trial
from tests.support import virtual_time
from tests.support.memory_host import Chaos, MemoryHost
from tests.support.memory_store import Answer, MemoryStore, SpawnedTask
from tests.support.memory_transactions import MemoryTransaction

from zart_core import attempts, delivery, executor, handles
from zart_core.call import Call
from zart_core.executor import ActiveRun
from zart_core.identity import Scope
from zart_core.items import CancelItem, FinishItem, RecordItem, RevokeItem, SpawnItem, WaitItem
from zart_core.journal import Journal, Record

MOST = 200
Trial = Callable[[int, type[MemoryHost]], Awaitable[Found]]
Plant = Callable[[pytest.MonkeyPatch], type[MemoryHost]]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


async def first_found(one: Trial, host_type: type[MemoryHost], begin: int) -> Found | None:
    for seed in range(begin, begin + MOST):
        found = await one(seed, host_type)
        if found.violations:
            return found
    return None


# -- planted in the engine


def counters_per_run(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    """Branches count in one place: who is first gets the first record."""

    def branch(self: Scope, label: str = "") -> Scope:
        child = Scope(self.path, label)
        child._counts = self._counts
        return child

    patch.setattr(Scope, "branch", branch)
    return MemoryHost


class _LateScope(Scope):
    """Is numbered when it is first used."""

    __slots__ = ("_number", "parent")

    def __init__(self, parent: Scope) -> None:
        super().__init__()
        self.parent, self._number = parent, -1

    @property
    def path(self) -> str:
        if self._number < 0:
            self._number = self.parent.branches
            self.parent.branches += 1
        return f"{self.parent.path}.{self._number}"

    @path.setter
    def path(self, _path: str) -> None: ...


def late_scope_numbers(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    patch.setattr(Scope, "branch", lambda self, _label="": _LateScope(self))
    return MemoryHost


def unordered_delivery(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    chance, take_next = random.Random(1), delivery.Delivery.take_next

    def shuffled(self: delivery.Delivery) -> Any:
        chance.shuffle(self._deliverable)
        return take_next(self)

    patch.setattr(delivery.Delivery, "take_next", shuffled)
    return MemoryHost


def two_outcomes_per_pump(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    deliver_next = ActiveRun._deliver_next
    patch.setattr(
        ActiveRun, "_deliver_next", lambda self: deliver_next(self) and (deliver_next(self) or True)
    )
    return MemoryHost


def early_start(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    """New calls begin although recorded outcomes can still be delivered."""
    deliver_next = ActiveRun._deliver_next

    def start_first(self: ActiveRun) -> bool:
        while self._start_next():
            pass
        return deliver_next(self)

    patch.setattr(ActiveRun, "_deliver_next", start_first)
    return MemoryHost


def lost_record(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    chance = random.Random(1)

    def lossy(records: tuple[Record, ...], *more: Any) -> Journal:
        drop = chance.randrange(len(records)) if len(records) > 2 else -1
        return Journal([record for i, record in enumerate(records) if i != drop], *more)

    patch.setattr(executor, "Journal", lossy)
    return MemoryHost


def nothing_is_held_back(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    """An outcome reaches the body although an earlier one is still on its way."""
    take_turn = delivery.Delivery.take_turn

    def forget(self: delivery.Delivery) -> int:
        turn = take_turn(self)
        self._held.clear()
        return turn

    patch.setattr(delivery.Delivery, "take_turn", forget)
    return MemoryHost


def commits_of_steps_hold_nothing_back(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    """A plain outcome overtakes the earlier one of a step that commits by itself."""
    commit = MemoryTransaction.commit

    def release(self: MemoryTransaction, item: RecordItem) -> None:
        assert item.turn is not None
        item.run.release_turn(item.turn)
        commit(self, item)

    patch.setattr(MemoryTransaction, "commit", release)
    return MemoryHost


def cancelled_calls_are_not_recorded(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    def forget(self: ActiveRun, call: Call[Any]) -> None:
        self._pending.pop(call.identity, None)
        self.attempts.give_up(call.identity)

    patch.setattr(ActiveRun, "_cancel", forget)
    return MemoryHost


def results_of_cancelled_steps_are_recorded(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    patch.setattr(attempts.Attempts, "_is_wanted", lambda *_: True)
    return MemoryHost


def occurrences_ignore_names(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    """An inserted call of another name shifts all after it."""
    take = Scope.take
    patch.setattr(Scope, "take", lambda self, _name: take(self, "any"))
    return MemoryHost


# -- planted in the host


class _AnyCacheWillDo(MemoryHost):
    """Two workers that keep every body and are never killed, so that the wrong one is likely to claim."""

    def __init__(self, *args: Any, chaos: Chaos | None = None, **options: Any) -> None:
        if chaos is not None:
            chaos.workers, chaos.evict, chaos.kills = 2, 0.0, 0.0
        super().__init__(*args, chaos=chaos, **options)

    def _may_resume(self, cached: ActiveRun) -> bool:
        return True


def stale_cache_epoch(_: pytest.MonkeyPatch) -> type[MemoryHost]:
    return _AnyCacheWillDo


def busy_items_keep_their_turn(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    take_turn = ActiveRun.take_turn

    class KeepsTurns(MemoryHost):
        def _commit(self, batch: Any) -> Any:
            kept = iter([item.turn for item in batch if isinstance(item, WaitItem | CancelItem)])
            turns: dict[ActiveRun, Any] = {}
            for item in batch:
                if isinstance(item, WaitItem | CancelItem):
                    turns.setdefault(item.run, []).append(next(kept))
            self._kept = turns
            return super()._commit(batch)

    def again(self: ActiveRun) -> int:
        kept = getattr(self.host, "_kept", {}).get(self)
        turn = kept.pop(0) if kept else 0
        return turn or take_turn(self)

    patch.setattr(ActiveRun, "take_turn", again)
    return KeepsTurns


def freed_events_go_to_the_box_only(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    """An open wait sleeps beside the event that a cancelled one gave back."""
    cancel = MemoryStore._cancel

    def keep(self: MemoryStore, item: CancelItem, now: float) -> Any:
        freed = self.consumed.pop(item.identity, None)
        if freed is not None:
            self.mailbox.append(freed)
        return cancel(self, item, now)

    patch.setattr(MemoryStore, "_cancel", keep)
    return MemoryHost


def spawned_ends_get_a_turn_from_outside(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    """Whoever ends a spawned step gives it the turn of the run's latest claim, below what the body has seen."""
    finish = MemoryStore._finish

    def give(self: MemoryStore, item: FinishItem) -> Any:
        answer = finish(self, item)
        record = self.records.get(item.run.id)
        if record is not None and record.turn is None:
            record.turn = self.epoch << delivery.TURN_BITS
        return answer

    patch.setattr(MemoryStore, "_finish", give)
    return MemoryHost


def a_cancel_replaces_the_outcome(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    """A spawned step that was over is cancelled all the same."""
    revoke = MemoryStore._revoke

    def replace(self: MemoryStore, item: RevokeItem) -> Any:
        known = self.records.pop(item.identity, None)
        answer = revoke(self, item)
        if known is not None and known.turn is not None:
            self.records[item.identity].turn = known.turn
        return answer

    patch.setattr(MemoryStore, "_revoke", replace)
    patch.setattr(handles.Handles, "begin", _begin_again)
    return MemoryHost


def _begin_again(self: handles.Handles, call: Call[Any]) -> None:
    self._pending[call.identity] = call


def a_spawn_does_not_look_for_its_record(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    def spawn(self: MemoryStore, item: SpawnItem) -> Answer:
        self.spawned.setdefault(item.identity, SpawnedTask(item.sequence, item.payload))
        return Answer()

    patch.setattr(MemoryStore, "_spawn", spawn)
    patch.setattr(handles.Handles, "begin", _begin_again)
    return MemoryHost


def handles_settle_at_once(patch: pytest.MonkeyPatch) -> type[MemoryHost]:
    """A handle whose outcome is known does not wait for its turn."""
    expect = handles.Handles.expect

    def at_once(self: handles.Handles, call: Call[Any], arrival: Any) -> None:
        record = self._run.journal.find(call.identity)
        if record is not None and record.turn is not None:
            arrival.set_result(call.operation.receive(record))
        else:
            expect(self, call, arrival)

    patch.setattr(handles.Handles, "expect", at_once)
    return MemoryHost


MUTANTS: list[tuple[Plant, Trial, int]] = [
    (counters_per_run, order_free_trial, 0),
    (late_scope_numbers, order_free_trial, 0),
    (occurrences_ignore_names, order_free_trial, 0),
    (unordered_delivery, trial, 0),
    (two_outcomes_per_pump, trial, 0),
    (early_start, trial, 0),
    (lost_record, trial, 0),
    (nothing_is_held_back, trial, 0),
    (commits_of_steps_hold_nothing_back, trial, 0),
    (cancelled_calls_are_not_recorded, trial, 0),
    (results_of_cancelled_steps_are_recorded, trial, 120),
    (stale_cache_epoch, trial, 0),
    (busy_items_keep_their_turn, trial, 0),
    (freed_events_go_to_the_box_only, mailbox_trial, 0),
    (spawned_ends_get_a_turn_from_outside, trial, 0),
    (a_cancel_replaces_the_outcome, trial, 0),
    (a_spawn_does_not_look_for_its_record, trial, 0),
    (handles_settle_at_once, trial, 0),
]
"""What is planted, what should show it, and the seed to begin with: a little before the first that did."""


@pytest.mark.parametrize(
    ("plant", "one", "begin"), [pytest.param(*mutant, id=mutant[0].__name__) for mutant in MUTANTS]
)
def test_a_planted_bug_is_found(
    plant: Plant, one: Trial, begin: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = virtual_time.run(first_found(one, plant(monkeypatch), begin))
    assert found is not None, f"{plant.__name__} lives through {MOST} programs"
    print(f"{plant.__name__}: seed {found.seed}: {found.violations[0][:200]}")
