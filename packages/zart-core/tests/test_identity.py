"""L5: identities, as written and as taken apart."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_core import ConfigurationError, DuplicateKey
from zart_core.identity import (
    Identity,
    Scope,
    check_name,
    child_id,
    escape,
    idempotency_key,
    keyed_identity,
    occurrence_identity,
)

RUN = "0197b2f0-0000-7000-8000-000000000001"
paths = st.lists(st.integers(0, 99)).map(lambda numbers: "".join(f".{n}" for n in numbers))
ids = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="~"), min_size=1, max_size=255)
names = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)


def test_occurrences_are_counted_by_name() -> None:
    scope = Scope()
    assert [scope.take("a"), scope.take("b"), scope.take("a")] == [0, 0, 1]


def test_the_last_occurrence_can_be_given_back_and_an_earlier_one_leaves_a_hole() -> None:
    scope = Scope()
    first, second = scope.take("a"), scope.take("a")
    scope.give_back("a", first)
    assert scope.take("a") == 2
    scope.give_back("a", 2)
    scope.give_back("a", second)
    assert scope.take("a") == 1


def test_branches_are_numbered_by_their_maker_in_the_order_in_which_they_are_made() -> None:
    root = Scope()
    first, second = root.branch("work"), root.branch()
    assert [root.path, first.path, second.path, second.branch().path] == ["", ".0", ".1", ".1.0"]
    assert first.label == "work"
    assert [first.take("a"), second.take("a")] == [0, 0]


def test_a_key_may_be_taken_once_for_each_name() -> None:
    scope = Scope()
    scope.take_key("a", "k")
    scope.take_key("b", "k")
    with pytest.raises(DuplicateKey, match="'a' was already called with key 'k'"):
        scope.take_key("a", "k")
    scope.give_back_key("a", "k")
    scope.take_key("a", "k")
    Scope().give_back_key("a", "never taken")


@given(paths, names, st.integers(0, 10_000))
def test_an_occurrence_is_written_and_taken_apart(path: str, name: str, occurrence: int) -> None:
    written = occurrence_identity(path, name, occurrence)
    assert Identity.parse(written) == Identity(path, name, None, occurrence)
    assert written.startswith(Scope(path).prefix(name))


@given(paths, names, names)
def test_a_key_is_written_and_taken_apart(path: str, name: str, key: str) -> None:
    assert Identity.parse(keyed_identity(path, name, key)) == Identity(path, name, key, None)


@given(names, names)
def test_different_names_are_written_differently_and_without_a_hash(one: str, other: str) -> None:
    assert "#" not in escape(one)
    assert (escape(one) == escape(other)) == (one == other)


def test_the_idempotency_key_depends_on_run_and_identity_only() -> None:
    key = idempotency_key(RUN, ":charge#0")
    assert key == idempotency_key(RUN, ":charge#0") != idempotency_key(RUN, ":charge#1")
    assert key != idempotency_key(RUN[:-1] + "2", ":charge#0")


def test_a_childs_id_names_parent_run_and_call_without_the_run_if_it_is_the_first() -> None:
    assert child_id("order-7", 0, ":ship#0") == "order-7~/:ship#0"
    assert child_id("order-7", 2, ".1:ship#0") == "order-7~2/.1:ship#0"
    assert child_id("order-7~2/.1:ship#0", 0, ":pay#1") == "order-7~2/.1:ship#0~/:pay#1"


@given(st.tuples(ids, st.integers(0, 12), paths, names), st.tuples(ids, st.integers(0, 12), paths, names))
def test_different_calls_have_children_of_different_ids(
    one: tuple[str, int, str, str], other: tuple[str, int, str, str]
) -> None:
    written = [
        child_id(parent, run, occurrence_identity(path, name, 0)) for parent, run, path, name in (one, other)
    ]
    assert (written[0] == written[1]) == (one == other)
    assert all(len(text) <= 255 for text in written)


def test_a_childs_id_that_is_too_long_is_cut_and_ends_with_a_hash_of_the_whole() -> None:
    fits, first, second = (child_id("p" * length, 0, ":ship#0") for length in (246, 247, 248))
    assert (len(fits), len(first), len(second)) == (255, 255, 255)
    assert fits.endswith("~/:ship#0")
    assert first[:222] == second[:222] == "p" * 222
    assert first[222] == "~"
    assert first != second


@pytest.mark.parametrize("name", ["a", "x" * 255, "ship {order}", "größe", "a#b"])
def test_a_name_is_any_printable_text_of_up_to_255_characters(name: str) -> None:
    assert check_name("step", name) == name


@pytest.mark.parametrize("name", ["", "x" * 256, "a\nb", "a\0b", None, 7, b"a"])
def test_what_cannot_be_a_name_is_refused(name: object) -> None:
    with pytest.raises(ConfigurationError, match="the name of a step"):
        check_name("step", name)
    with pytest.raises(ConfigurationError, match="the name of an event"):
        check_name("event", name)
