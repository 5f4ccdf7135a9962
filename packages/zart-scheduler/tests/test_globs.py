"""Globs of step names, as PostgreSQL's regular expressions; Python's `re` reads these few the same way."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from zart_core import UsageError
from zart_scheduler.globs import patterns


def test_none_stays_none_and_one_glob_needs_no_list() -> None:
    assert patterns("steps", None) is None
    assert patterns("steps", "a*") == patterns("steps", ["a*"]) == ["^a.*$"]
    assert patterns("steps", ()) == []


@pytest.mark.parametrize(
    ("glob", "fits", "does_not"),
    [
        ("pay", ["pay"], ["pays", "prepay", "PAY"]),
        ("pay-*", ["pay-", "pay-1", "pay-a-b"], ["pay"]),
        ("?ay", ["pay", "day"], ["ay", "ppay"]),
        ("p[a-c]y", ["pay", "pby"], ["pdy", "p-y"]),
        ("p[!a]y", ["pby"], ["pay"]),
        ("p[]x]y", ["p]y", "pxy"], ["pay"]),
        ("p[^a]y", ["p^y", "pay"], ["pby"]),
        ("a.b+c(d)|{e}^$\\", ["a.b+c(d)|{e}^$\\"], ["aXb"]),
        ("open[", ["open["], ["open"]),
        ("with space", ["with space"], []),
    ],
)
def test_a_glob_fits_whole_names(glob: str, fits: list[str], does_not: list[str]) -> None:
    (pattern,) = patterns("steps", glob) or [""]
    assert [name for name in fits + does_not if re.search(pattern, name)] == fits


@given(
    st.text("ab*?.+[]!-^$\\", min_size=1, max_size=6).filter(lambda glob: "[" not in glob),
    st.text("ab.+[]!-^$\\", max_size=6),
)
def test_without_sets_a_glob_fits_what_pythons_does(glob: str, name: str) -> None:
    (pattern,) = patterns("steps", glob) or [""]
    assert bool(re.search(pattern, name)) == fnmatchcase(name, glob)


@pytest.mark.parametrize("wrong", ["", [""], ["a", 7], ["\0"]])
def test_what_is_no_name_is_refused(wrong: Any) -> None:
    with pytest.raises(UsageError, match="steps takes names of steps"):
        patterns("steps", wrong)
