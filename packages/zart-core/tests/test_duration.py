"""Durations and sizes: one grammar, exact columns."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest

from zart_core.duration import MAX_SECONDS, format_seconds, parse_size, seconds
from zart_core.errors import ConfigurationError, InvalidText


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("500ms", 0.5),
        ("30s", 30),
        ("1.5s", 1.5),
        ("1h30m", 5400),
        ("2d", 172_800),
        ("1w", 604_800),
        ("1d2h3m4s5ms", 93_784.005),
        ("0s", 0),
        ("PT90S", 90),
        ("PT1.5S", 1.5),
        ("P1DT2H3M", 93_780),
        ("P2W", 1_209_600),
        (timedelta(minutes=1), 60),
        (90, 90),
        (0.25, 0.25),
        (-5, -5),
        (timedelta(seconds=-1), -1),
        (36_500 * 86_400, MAX_SECONDS),
        (-1e300, -MAX_SECONDS),
        (-(10**400), -MAX_SECONDS),
    ],
)
def test_a_duration_is_a_timedelta_a_number_or_text(value: Any, expected: float) -> None:
    assert seconds(value) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("value", "column", "expected"),
    [
        ("", 1, "a number with a unit"),
        ("abc", 1, "a number with a unit"),
        ("30", 3, "a unit"),
        ("30x", 3, "a unit"),
        ("1h30", 5, "a unit"),
        ("1h-30m", 3, "a number with a unit"),
        ("1h 30m", 3, "a number with a unit"),
        (" 30s", 1, "a number with a unit"),
        ("30s ", 4, "a number with a unit"),
        ("1.s", 2, "a unit"),
        ("٣s", 1, "a number with a unit"),
        ("30m1h", 5, "larger ones first"),
        ("1h1h", 4, "once"),
        ("-5s", 1, "negative"),
        ("P", 2, "ISO 8601"),
        ("PT", 2, "ISO 8601"),
        ("P1Y", 2, "ISO 8601"),
        ("P1DT", 4, "ISO 8601"),
        ("PT90Sx", 6, "ISO 8601"),
        ("36501d", 1, "at most 100 years"),
        ("P36501D", 1, "at most 100 years"),
        ("9" * 400 + "s", 1, "at most 100 years"),
    ],
)
def test_text_that_breaks_the_grammar_is_refused_with_its_column(
    value: str, column: int, expected: str
) -> None:
    with pytest.raises(InvalidText) as caught:
        seconds(value, what="timeout")
    assert (caught.value.what, caught.value.text, caught.value.column) == ("timeout", value, column)
    assert expected in caught.value.expected


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, -math.inf, 10**400, 1e10, True, None, [], timedelta.max]
)
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(InvalidText) as caught:
        seconds(value)
    assert isinstance(caught.value, ConfigurationError)
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("16MiB", 16 * 2**20),
        ("1.5 KiB", 1536),
        ("10kB", 10_000),
        ("5GB", 5 * 10**9),
        ("7B", 7),
        (42, 42),
        (0, 0),
    ],
)
def test_a_size_is_text_with_a_unit_or_bytes(value: str | int, expected: int) -> None:
    assert parse_size(value) == expected


@pytest.mark.parametrize(
    ("value", "column"),
    [
        ("", 1),
        ("x", 1),
        ("16", 3),
        ("16mb", 3),
        ("-1B", 1),
        ("16MiB!", 6),
        ("9" * 30 + "GiB", 1),
        (-1, 1),
        (True, 1),
    ],
)
def test_other_sizes_are_refused(value: Any, column: int) -> None:
    with pytest.raises(InvalidText) as caught:
        parse_size(value)
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (0, "0s"),
        (0.0001, "0s"),
        (0.5, "500ms"),
        (0.9999, "1s"),
        (1.5, "1.5s"),
        (59.9996, "1m"),
        (90.2, "1m30s"),
        (5400, "1h30m"),
        (93_784, "1d2h3m4s"),
        (-90, "-1m30s"),
    ],
)
def test_seconds_are_written_for_people(value: float, expected: str) -> None:
    assert format_seconds(value) == expected
