"""L11: outcomes are delivered by turn, then by identity, and none before an earlier one that is still open."""

from __future__ import annotations

import asyncio
import random
from types import SimpleNamespace
from typing import Any

import pytest

from zart_core.delivery import TURN_BITS, Delivery, Waiting
from zart_core.journal import Journal, Kind, Outcome, Record


@pytest.fixture
def loop() -> Any:
    loop = asyncio.new_event_loop()
    yield loop
    loop.close()


def record(name: str, turn: int | None, outcome: Outcome = Outcome.OK) -> Record:
    return Record(f":{name}#0", Kind.STEP, outcome, turn, b"1")


def waiting(loop: asyncio.AbstractEventLoop, name: str) -> Waiting:
    call: Any = SimpleNamespace(identity=f":{name}#0")
    return Waiting(loop.create_future(), call)


def delivery(*records: Record, epoch: int = 1) -> Delivery:
    return Delivery(Journal(records), epoch, records)


def taken(delivery: Delivery) -> list[str]:
    found = []
    while (next_ := delivery.take_next()) is not None:
        found.append(next_[1].identity[1])
    return found


def test_the_lowest_turn_comes_first_then_the_lowest_identity(loop: asyncio.AbstractEventLoop) -> None:
    records = [record("c", 1), record("b", 2), record("a", 2), record("d", 3)]
    expected = ["c", "a", "b", "d"]
    for seed in range(20):
        chosen = delivery(*records)
        for one in random.Random(seed).sample(records, 4):
            chosen.expect(waiting(loop, one.identity[1]), one.turn)
        assert taken(chosen) == expected


def test_nothing_is_delivered_that_nobody_waits_for(loop: asyncio.AbstractEventLoop) -> None:
    chosen = delivery(record("a", 1), record("b", 2))
    chosen.expect(waiting(loop, "b"), 2)
    assert taken(chosen) == ["b"]
    chosen.expect(waiting(loop, "a"), 1)
    assert taken(chosen) == ["a"]


def test_an_outcome_is_delivered_once_it_is_entered_with_a_turn(loop: asyncio.AbstractEventLoop) -> None:
    chosen = delivery()
    chosen.expect(waiting(loop, "a"), None)
    chosen.enter(record("a", None))
    assert taken(chosen) == []
    chosen.enter(record("a", 7))
    chosen.enter(record("a", 9))  # a turn never changes
    found = chosen.take_next()
    assert found is not None
    assert found[1].turn == 7


def test_a_turn_that_is_open_holds_back_what_shares_it(loop: asyncio.AbstractEventLoop) -> None:
    """One collect gives many outcomes its turn; another answer may tell of one of them first."""
    chosen = delivery()
    turn = chosen.take_turn()
    for name in "ab":
        chosen.expect(waiting(loop, name), None)
    chosen.enter(record("b", turn))
    assert taken(chosen) == []
    chosen.release(turn)
    chosen.enter(record("a", turn))
    assert taken(chosen) == ["a", "b"]


def test_a_turn_that_is_open_holds_back_all_later_ones(loop: asyncio.AbstractEventLoop) -> None:
    chosen = delivery(epoch=3)
    first, second = chosen.take_turn(), chosen.take_turn()
    assert (first, second) == (3 << TURN_BITS | 1, 3 << TURN_BITS | 2)
    for name, turn in (("a", second), ("b", 2 << TURN_BITS)):
        chosen.expect(waiting(loop, name), None)
        chosen.enter(record(name, turn))
    assert taken(chosen) == ["b"]
    chosen.release(second)
    assert taken(chosen) == []
    chosen.release(first)
    assert taken(chosen) == ["a"]


def test_turns_go_on_behind_those_that_the_same_claim_gave() -> None:
    old, claimed = record("a", 2 << TURN_BITS | 9), record("b", 3 << TURN_BITS | 4)
    assert delivery(old, claimed, record("c", None), epoch=3).take_turn() == 3 << TURN_BITS | 5
    assert delivery(old, epoch=3).take_turn() == 3 << TURN_BITS | 1


def test_a_resumed_run_counts_anew_under_its_new_epoch() -> None:
    chosen = delivery(epoch=1)
    chosen.take_turn()
    chosen.resume(2)
    assert chosen.take_turn() == 2 << TURN_BITS | 1


def test_a_cancelled_outcome_is_never_delivered_nor_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    chosen = delivery(record("a", 1), record("b", 2, Outcome.CANCELLED))
    chosen.expect(waiting(loop, "a"), 1)
    chosen.expect(waiting(loop, "b"), 2)
    chosen.expect(waiting(loop, "c"), None)
    assert chosen.awaited() == [":a#0", ":c#0"]
    assert taken(chosen) == ["a"]


def test_a_call_can_be_given_up_only_by_its_own_waiter_and_only_before_its_outcome(
    loop: asyncio.AbstractEventLoop,
) -> None:
    chosen, first, second = delivery(record("a", 1)), waiting(loop, "a"), waiting(loop, "b")
    chosen.expect(first, 1)
    chosen.expect(second, None)
    assert not chosen.give_up(":b#0", first.future)
    assert chosen.give_up(":b#0", second.future)
    assert taken(chosen) == ["a"]
    assert not chosen.give_up(":a#0", first.future)


def test_a_waiter_that_is_done_already_gets_nothing(loop: asyncio.AbstractEventLoop) -> None:
    chosen, cancelled = delivery(record("a", 1), record("b", 2)), waiting(loop, "a")
    cancelled.future.cancel()
    chosen.expect(cancelled, 1)
    chosen.expect(waiting(loop, "b"), 2)
    assert taken(chosen) == ["b"]


def test_it_replays_until_the_last_outcome_of_the_claim_is_delivered_or_new_work_begins(
    loop: asyncio.AbstractEventLoop,
) -> None:
    assert not delivery().is_replaying
    chosen, told = delivery(record("a", 1), record("b", 2)), list[bool]()
    for name, turn in (("a", 1), ("b", 2)):
        told.append(chosen.is_replaying)
        chosen.expect(waiting(loop, name), turn)
        assert chosen.take_next()
    assert [*told, chosen.is_replaying] == [True, True, False]
    edited = delivery(record("a", 1))
    edited.is_new()
    assert not edited.is_replaying


def event(name: str, turn: int | None, outcome: Outcome = Outcome.OK) -> Record:
    return Record(f":{name}#0", Kind.EVENT, outcome, turn, b"1")


def claim(epoch: int, n: int = 0) -> int:
    return epoch << TURN_BITS | n


def test_what_this_claim_gave_a_turn_and_nobody_was_handed_is_unseen(
    loop: asyncio.AbstractEventLoop,
) -> None:
    chosen = delivery(event("a", claim(2)), event("b", claim(2)), record("step", claim(2)), epoch=2)
    chosen.enter(event("c", claim(2, 1)))
    chosen.enter(event("late", claim(2, 2), Outcome.TIMEOUT))
    chosen.expect(waiting(loop, "a"), claim(2))
    assert taken(chosen) == ["a"]
    assert chosen.unseen_events() == [":b#0", ":c#0"]
    assert chosen.unseen_events(is_complete=True) == [":b#0", ":c#0"]


def test_what_an_earlier_owner_may_have_handed_over_counts_as_seen_unless_a_complete_body_waits_for_it(
    loop: asyncio.AbstractEventLoop,
) -> None:
    chosen = delivery(event("a", claim(1, 5)), event("b", claim(1, 6)), epoch=2)
    chosen.expect(waiting(loop, "a"), claim(1, 5))
    assert chosen.unseen_events() == []
    assert chosen.unseen_events(is_complete=True) == [
        ":a#0"
    ]  # nobody waits for b any more: the code has changed


def test_a_cancelled_wait_has_given_its_event_back_already() -> None:
    journal = Journal()
    chosen = Delivery(journal, 1, ())
    chosen.enter(event("a", claim(1, 1)))
    journal.add(event("a", claim(1, 1), Outcome.CANCELLED))
    assert chosen.unseen_events() == []
