"""What a durable call means, given what is recorded: total over every journal."""

from __future__ import annotations

from typing import Any

import pytest

from zart_core.call import Call
from zart_core.identity import Scope
from zart_core.journal import Journal, Kind, Outcome, Record
from zart_core.operations import SleepOperation
from zart_core.replay import OTHER_ARGUMENTS, Diverged, Execute, Recorded, Wait, decide, renamed


class Body:
    """As much of a run as a call needs to be made."""

    def __init__(self, path: str = "") -> None:
        self.scope = Scope(path)
        self.open_calls: dict[int, Call[Any]] = {}
        self.reserved = 0

    def current_scope(self) -> Scope:
        return self.scope

    async def perform(self, call: Call[Any]) -> Any:
        raise NotImplementedError


def call(name: str = "a", args_hash: bytes | None = b"same", body: Body | None = None) -> Call[Any]:
    made: Call[Any] = Call(body or Body(), name, SleepOperation(name, 1, None), args_hash)
    made.close()
    return made


def record(
    identity: str,
    *,
    kind: Kind = Kind.SLEEP,
    outcome: Outcome = Outcome.OK,
    turn: int | None = 5,
    args_hash: bytes | None = b"same",
) -> Record:
    return Record(identity, kind, outcome, turn, b"null", args_hash)


def test_nothing_recorded_is_new_work() -> None:
    assert decide(Journal([record(":b#0")]), call(), "warn") == Execute()


@pytest.mark.parametrize("outcome", [Outcome.OK, Outcome.ERROR, Outcome.TIMEOUT])
def test_an_outcome_with_a_turn_is_recorded(outcome: Outcome) -> None:
    assert decide(Journal([record(":a#0", outcome=outcome)]), call(), "warn") == Recorded(5)


def test_an_outcome_without_a_turn_has_not_come_yet() -> None:
    assert decide(Journal([record(":a#0", turn=None)]), call(), "warn") == Wait()


def test_l12_a_cancelled_call_is_waited_for_and_never_delivered() -> None:
    assert decide(Journal([record(":a#0", outcome=Outcome.CANCELLED)]), call(), "warn") == Wait()


@pytest.mark.parametrize("turn", [5, None])
@pytest.mark.parametrize("outcome", list(Outcome))
def test_l10_a_record_of_another_kind_diverges_whatever_its_outcome(
    outcome: Outcome, turn: int | None
) -> None:
    decision = decide(Journal([record(":a#0", kind=Kind.EVENT, outcome=outcome, turn=turn)]), call(), "warn")
    assert isinstance(decision, Diverged)
    assert "recorded as an event, and today's code makes a sleep of it at" in decision.reason


@pytest.mark.parametrize(
    ("recorded", "given"), [(b"other", None), (None, b"other"), (None, None), (b"x", b"x")]
)
def test_l10_arguments_that_are_not_known_to_differ_are_the_same(
    recorded: bytes | None, given: bytes | None
) -> None:
    journal = Journal([record(":a#0", args_hash=recorded), record(":a#1")])
    assert decide(journal, call(args_hash=given), "block") == Recorded(5)


def test_l10_other_arguments_at_an_inferred_position_diverge() -> None:
    journal = Journal([record(":a#0", args_hash=b"other"), record(":a#1")])
    decision = decide(journal, call(), "warn")
    assert isinstance(decision, Diverged)
    assert "it may be another call" in decision.reason


def test_l10_other_arguments_of_the_only_call_of_its_name_leave_a_doubt_or_block() -> None:
    journal = Journal([record(":a#0", args_hash=b"other")])
    decision = decide(journal, call(), "warn")
    assert isinstance(decision, Recorded)
    assert decision.doubt is not None
    assert "other arguments" in decision.doubt
    found = Diverged(OTHER_ARGUMENTS, decision.doubt, record(":a#0", args_hash=b"other"))
    assert decide(journal, call(), "block") == found


def test_l10_a_doubt_is_told_also_where_the_outcome_has_not_come() -> None:
    decision = decide(Journal([record(":a#0", args_hash=b"other", turn=None)]), call(), "warn")
    assert isinstance(decision, Wait)
    assert decision.doubt is not None


def test_l10_an_accepted_call_takes_its_record_whatever_its_arguments() -> None:
    journal = Journal([record(":a#0", args_hash=b"other"), record(":a#1")], (), frozenset({":a#0"}))
    assert decide(journal, call(), "block") == Recorded(5)


def taken_for(*records: Record, made: tuple[Call[Any], ...] = (), settled: bool = True) -> str | None:
    found = renamed(Journal(records), call(), made, is_settled=settled)
    return None if found is None else found.record.identity


def test_l10_a_new_call_like_the_next_unmet_record_is_taken_for_it() -> None:
    assert taken_for(record(":b#0"), record(":c#0", kind=Kind.EVENT)) == ":b#0"
    assert taken_for(record(":b#0", kind=Kind.EVENT), record(":c#0")) is None
    assert taken_for(record(":b#0", args_hash=b"other"), record(":c#0")) is None
    assert taken_for(record(".0:b#0")) is None
    assert taken_for() is None


def test_l10_a_record_whose_call_was_made_is_not_the_next() -> None:
    assert taken_for(record(":b#0"), record(":c#0"), made=(call("b"),)) == ":c#0"


def test_l10_an_accepted_call_is_new() -> None:
    journal = Journal([record(":b#0")], (), frozenset({":a#0"}))
    assert renamed(journal, call(), (), is_settled=True) is None


def test_l10_while_the_body_waits_in_memory_only_an_earlier_place_shows_an_edit() -> None:
    later, same = record(":b#0"), record(":b#0")
    later.sequence, same.sequence = 2, 1
    assert taken_for(later, settled=False) is None
    assert taken_for(later) == ":b#0"
    assert taken_for(same, settled=False) == ":b#0"
