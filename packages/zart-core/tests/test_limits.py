from datetime import UTC, datetime
from typing import Any

import pytest

from zart_core import UsageError
from zart_core.limits import aware, check_id, check_reason, check_tags, check_word


@pytest.mark.parametrize("text", ["", "x" * 256, "a~b", "a\nb", "a\0b", "\x7f", "\ud800", 7, None])
def test_an_impossible_id_is_refused(text: Any) -> None:
    with pytest.raises(UsageError, match="the id must"):
        check_id("the id", text)


@pytest.mark.parametrize("text", ["x", "ö" * 255, "a/b c:d#e%f", "雪 ☃ 🏔", "a\u200bb", "'; --"])
def test_any_other_text_is_an_id(text: str) -> None:
    assert check_id("the id", text) == text


def test_a_tilde_stands_where_ids_are_only_looked_up() -> None:
    assert check_id("the id", "parent~1/:child#0", tilde=True) == "parent~1/:child#0"


@pytest.mark.parametrize(
    "tags", [{"a": 1}, {1: "a"}, {"a": "\0"}, {"\n": "a"}, {"a": "\ud800"}, ["a"], "a", {"a": "x" * 9000}]
)
def test_impossible_tags_are_refused(tags: Any) -> None:
    with pytest.raises(UsageError, match="tags"):
        check_tags(tags)


def test_tags_are_copied() -> None:
    tags = {"shop": "süd"}
    copy = check_tags(tags)
    assert copy == tags
    assert copy is not tags
    assert check_tags(None) == {}


def test_a_word_of_another_shape_is_a_usage_error() -> None:
    assert check_word("queue", "a") == "a"
    for name in ("", "x" * 256, "a\nb", 7):
        with pytest.raises(UsageError, match="the name of a queue"):
            check_word("queue", name)


def test_reasons_are_short_texts() -> None:
    assert check_reason(None) is None
    assert check_reason("why\nnot") == "why\nnot"
    for reason in ("x" * 1001, "\0", 7):
        with pytest.raises(UsageError, match="a reason must be"):
            check_reason(reason)  # type: ignore[arg-type] # that is what is refused


def test_a_moment_needs_a_time_zone() -> None:
    assert aware("at", datetime(2030, 1, 1, tzinfo=UTC)).year == 2030
    for moment in (datetime(2030, 1, 1), "2030-01-01"):  # noqa: DTZ001 - that is what is refused
        with pytest.raises(UsageError, match="at must be a datetime with a time zone"):
            aware("at", moment)  # type: ignore[arg-type] # that is what is refused
