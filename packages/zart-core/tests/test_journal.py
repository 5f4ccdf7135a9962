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
    assert [kind.label for kind in Kind] == [
        "step",
        "capture",
        "sleep",
        "event",
        "saga",
        "child",
        "state",
        "spawn",
    ]


def numbered(identity: str, sequence: int) -> Record:
    return Record(identity, Kind.STEP, Outcome.OK, 1, b"1", sequence=sequence)


def test_records_that_were_there_at_first_are_unmet_until_they_are_met() -> None:
    journal = Journal([numbered(":b#0", 1), numbered(":a#0", 2)])
    journal.add(numbered(":late#0", 3))
    assert journal.unmet() == [":b#0", ":a#0"]
    assert (journal.is_unmet(":b#0"), journal.is_unmet(":late#0")) == (True, False)
    journal.meet(":b#0")
    journal.meet(":nothing#0")
    assert (journal.unmet(), journal.has_unmet) == ([":a#0"], True)
    journal.meet(":a#0")
    assert not journal.has_unmet
    assert sorted(journal.identities()) == [":a#0", ":b#0", ":late#0"]


def test_the_unmet_records_of_a_scope_come_in_the_order_of_their_calls() -> None:
    journal = Journal(
        [numbered(f":{name}#0", at) for at, name in enumerate("dcba")] + [numbered(".0:x#0", 0)]
    )
    assert [record.identity for record in journal.unmet_in("")] == [":d#0", ":c#0", ":b#0", ":a#0"]
    journal.meet(":d#0")
    journal.meet(":b#0")
    assert [record.identity for record in journal.unmet_in("")] == [":c#0", ":a#0"]
    assert [record.identity for record in journal.unmet_in(".0")] == [".0:x#0"]
    assert list(journal.unmet_in(".1")) == []
