"""Names of calls as people write them."""

from __future__ import annotations

import pytest

from zart_core.naming import matches, shortest

RUN = [":pay#0", ":pay#1", ":ship#0", ".0:ship#0", ":mail#=a", ":mail#=b", ":a%23b#0", ":x:y#0", ":only#=k"]


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("pay", [":pay#0", ":pay#1"]),
        ("pay#1", [":pay#1"]),
        (":pay#1", [":pay#1"]),
        (":pay", [":pay#0", ":pay#1"]),
        ("ship", [":ship#0", ".0:ship#0"]),
        ("ship#0", [":ship#0", ".0:ship#0"]),
        (":ship#0", [":ship#0"]),
        (".0:ship", [".0:ship#0"]),
        ("mail#=a", [":mail#=a"]),
        ("mail[b]", [":mail#=b"]),
        (":mail[b]", [":mail#=b"]),
        ("only", [":only#=k"]),
        ("a#b", [":a%23b#0"]),
        ("a#b#0", [":a%23b#0"]),
        (":a%23b#0", [":a%23b#0"]),
        ("x:y", [":x:y#0"]),
        ("nothing", []),
        ("pay#2", []),
        ("", []),
    ],
)
def test_a_name_stands_for_every_call_that_it_fits(text: str, found: list[str]) -> None:
    assert matches(text, RUN) == found


def test_the_shortest_name_stands_for_its_call_alone() -> None:
    names = shortest(RUN, RUN)
    assert names == ["pay#0", "pay#1", ":ship", ".0:ship", "mail#=a", "mail#=b", "a#b", "x:y", "only"]
    assert [matches(name, RUN) for name in names] == [[identity] for identity in RUN]


def test_a_call_that_has_no_record_is_told_from_those_that_have() -> None:
    assert shortest([":new#0", ":pay#2"], RUN) == ["new", "pay#2"]


def test_a_name_that_another_identity_is_written_as_yields_to_it() -> None:
    known = ["::pay#0", ":pay#0"]
    assert matches(":pay#0", known) == [":pay#0"]
    assert shortest(known, known)[1] == "pay"
