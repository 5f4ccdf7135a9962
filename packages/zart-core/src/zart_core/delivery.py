"""The one order in which outcomes reach a body (L11): by turn, one at a time, live and on replay.

A turn that was taken and is not answered yet holds back its own outcomes and all later ones: an outcome never overtakes
another because its commit was heard of first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any, NamedTuple

from zart_core.call import Call
from zart_core.journal import Journal, Kind, Outcome, Record

TURN_BITS = 32
"""A turn is `epoch << TURN_BITS | n`; a claim gives n = 0, the owner counts from 1."""


class Waiting(NamedTuple):
    """A call that the body waits for, and the future that brings it the outcome."""

    future: asyncio.Future[Any]
    call: Call[Any]


class Delivery:
    """The waiting calls of one run, the turns it gives, and which outcome is next."""

    def __init__(self, journal: Journal, epoch: int, records: Iterable[Record]) -> None:
        self.epoch = epoch
        self.waiting: dict[str, Waiting] = {}
        self._journal = journal
        self._deliverable: list[tuple[int, str]] = []
        self._held: dict[int, None] = {}
        self._unseen: dict[str, int] = {}
        for record in records:
            self._note_event(record)
        turns = [(record.turn, record.identity) for record in records if record.turn is not None]
        self._count = 1 + max(
            (turn - (epoch << TURN_BITS) for turn, _ in turns if turn >> TURN_BITS == epoch), default=0
        )
        self._latest = max(turns, default=None)

    @property
    def is_replaying(self) -> bool:
        """Whether the claim brought outcomes that the body has not seen yet."""
        return self._latest is not None

    def is_new(self) -> None:
        """Take note that the body asks for new work: it has seen all that was recorded before."""
        self._latest = None

    def resume(self, epoch: int) -> None:
        """Go on with a later claim's epoch; nothing is open then."""
        self.epoch, self._count = epoch, 1
        self._held.clear()

    def take_turn(self) -> int:
        """Return the next turn; outcomes with a later one wait until it is released."""
        turn = self.epoch << TURN_BITS | self._count
        self._count += 1
        self._held[turn] = None
        return turn

    def release(self, turn: int) -> None:
        """Hold nothing back for `turn` any more."""
        self._held.pop(turn, None)

    def expect(self, waiting: Waiting, turn: int | None) -> None:
        """The body waits; `turn` is that of the outcome, if it has come."""
        identity = waiting.call.identity
        self.waiting[identity] = waiting
        if turn is not None:
            heappush(self._deliverable, (turn, identity))

    def give_up(self, identity: str, future: asyncio.Future[Any]) -> bool:
        """Forget a call whose waiter was cancelled; return False if its outcome was handed over before."""
        waiting = self.waiting.get(identity)
        if waiting is None or waiting.future is not future:
            return False
        del self.waiting[identity]
        return True

    def awaited(self) -> list[str]:
        """Return the calls whose outcome may still come; none does for one that was cancelled when it ran before."""
        return [
            identity
            for identity in self.waiting
            if (record := self._journal.find(identity)) is None or record.outcome is not Outcome.CANCELLED
        ]

    def enter(self, record: Record) -> None:
        """An outcome is known to be committed; without a turn the body must not see it yet."""
        known = self._journal.find(record.identity)
        if known is not None and known.turn is not None:
            return
        self._journal.add(record)
        self._note_event(record)
        if record.turn is not None and record.identity in self.waiting:
            heappush(self._deliverable, (record.turn, record.identity))

    def take_next(self) -> tuple[Waiting, Record] | None:
        """Return the outcome with the lowest turn among the waiting calls, unless an earlier turn is still open."""
        while self._deliverable:
            turn, identity = self._deliverable[0]
            if self._held and turn >= next(iter(self._held)):  # what shares its turn may come before it
                return None
            heappop(self._deliverable)
            if self._latest is not None and (turn, identity) >= self._latest:
                self._latest = None
            record, waiting = self._journal.find(identity), self.waiting.get(identity)
            if (
                record is None
                or waiting is None
                or record.turn != turn
                or record.outcome is Outcome.CANCELLED
            ):
                continue
            del self.waiting[identity]
            if not waiting.future.done():
                self._unseen.pop(identity, None)
                return waiting, record
        return None

    def _note_event(self, record: Record) -> None:
        if record.kind is Kind.EVENT and record.outcome is Outcome.OK and record.turn is not None:
            self._unseen[record.identity] = record.turn

    def unseen_events(self, *, is_complete: bool = False) -> list[str]:
        """Return the waits whose event has a turn and was seen by no body: neither by this one nor by an earlier one.

        What this claim, or its owner since, has given a turn can only have been seen here. An earlier owner may have
        delivered what has an older turn and died; but a body that `is_complete`, ended by itself, has seen all that
        an earlier pass has seen, so what it still waits for reached none.
        """
        first = self.epoch << TURN_BITS
        return [
            identity
            for identity, turn in self._unseen.items()
            if (turn >= first or (is_complete and identity in self.waiting))
            and (record := self._journal.find(identity)) is not None
            and record.outcome is Outcome.OK
        ]
