"""What a run has recorded, by identity."""

from __future__ import annotations

from dataclasses import replace

from zart_core.journal import UNSET, AttemptRecord, Journal, Kind, Outcome, Record


def record(identity: str, turn: int | None = 1, outcome: Outcome = Outcome.OK) -> Record:
    return Record(identity, Kind.STEP, outcome, turn, b"1")


def test_records_are_found_by_identity() -> None:
    journal = Journal([record(":a#0"), record(".0:a#0")])
    assert len(journal) == 2
    assert journal.find(".0:a#0") == record(".0:a#0")
    assert journal.find(":b#0") is None


def test_a_record_takes_the_place_of_one_of_the_same_identity() -> None:
    journal = Journal([record(":a#0", turn=None)])
    journal.add(record(":a#0", turn=7))
    assert len(journal) == 1
    assert journal.find(":a#0") == record(":a#0", turn=7)
    assert not journal.is_inferred(":a#")


def test_a_position_is_inferred_where_several_records_of_a_name_share_a_scope() -> None:
    journal = Journal(
        [record(":a#0"), record(":b#0"), record(":b#1"), record(".0:a#0"), record(":c#=x"), record(":c#=y#1")]
    )
    inferred = [prefix for prefix in (":a#", ":b#", ".0:a#", ":c#", ":d#") if journal.is_inferred(prefix)]
    assert inferred == [":b#"]


def test_attempts_are_kept_beside_the_records() -> None:
    journal = Journal(attempts=[AttemptRecord(":a#0", 1, 2.0, None)])
    assert journal.attempts(":b#0") is None
    known = journal.attempts(":a#0")
    assert known is not None
    journal.note_attempt(replace(known, failed=2))
    assert journal.attempts(":a#0") == AttemptRecord(":a#0", 2, 2.0, None)


def test_a_value_that_is_known_already_is_no_part_of_what_is_recorded() -> None:
    assert record(":a#0").value is UNSET
    assert replace(record(":a#0"), value=5) == record(":a#0")


def test_each_kind_has_a_word_for_people() -> None:
    assert [kind.label for kind in Kind] == ["step", "capture", "sleep", "event", "saga", "child", "state"]
