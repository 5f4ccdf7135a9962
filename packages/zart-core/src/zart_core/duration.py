"""Durations and sizes as people write them. The only parser of either; pure."""

from __future__ import annotations

import math
import re
from datetime import timedelta
from functools import lru_cache
from typing import Final, TypeAlias

from zart_core.errors import InvalidText

Duration: TypeAlias = timedelta | float | int | str
"""A `timedelta`, a number of seconds, or text such as `500ms`, `30s`, `1h30m`, `2d`, `PT90S`."""

MAX_SECONDS: Final = 100 * 365 * 86_400.0
"""The longest duration, 100 years of 365 days: what is added to any clock still fits a timestamp."""

_UNITS: Final = {"w": 604_800.0, "d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0, "ms": 0.001}
_ORDER: Final = tuple(_UNITS)
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)([A-Za-z]*)")
_ISO: Final = re.compile(
    r"P(?=[0-9T])(?:(?P<w>[0-9]+)W)?(?:(?P<d>[0-9]+)D)?"
    r"(?:T(?=[0-9])(?:(?P<h>[0-9]+)H)?(?:(?P<m>[0-9]+)M)?(?:(?P<s>[0-9]+(?:\.[0-9]+)?)S)?)?"
)
_SIZE: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?([A-Za-z]*)")
_SIZES: Final = {
    "B": 1,
    "kB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
}


def seconds(value: Duration, *, what: str = "duration") -> float:
    """Return a duration in seconds.

    Args:
        value: A `timedelta` or number, negative for "already past", or text. Text needs a unit (`w d h m s ms`,
            larger units first, or ISO 8601 with weeks and smaller) and is never negative.
        what: How an error calls the value.

    Returns:
        Seconds within 100 years of zero; what lies further in the past counts as that.

    Raises:
        InvalidText: The text does not follow the grammar, or the value is not finite, longer than 100 years, or
            of another type (a bool too).
    """
    if isinstance(value, str):
        return _from_text(value, what)
    if isinstance(value, bool) or not isinstance(value, timedelta | float | int):
        raise InvalidText(
            what, repr(value), 1, "expected a timedelta, a number of seconds or text like '90s'"
        )
    number = value.total_seconds() if isinstance(value, timedelta) else _to_float(value)
    if math.isnan(number) or number == -math.inf:
        raise InvalidText(what, repr(value), 1, "expected a finite number of seconds")
    return max(_within_limit(number, what, repr(value), 1), -MAX_SECONDS)


def parse_size(value: str | int, *, what: str = "size") -> int:
    """Return a size in bytes, rounded down.

    Args:
        value: Text with a unit (`B kB MB GB KiB MiB GiB`), or a number of bytes.
        what: How an error calls the value.

    Raises:
        InvalidText: The text does not follow the grammar, or the number is negative or no int.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if not isinstance(value, str):
        raise InvalidText(what, repr(value), 1, "expected a number of bytes or text like '16MiB'")
    match = _SIZE.match(value)
    if match is None:
        raise InvalidText(what, value, 1, "expected a number with a unit, such as '16MiB'")
    factor = _SIZES.get(match[2])
    if factor is None:
        raise InvalidText(what, value, match.start(2) + 1, f"expected a unit: {', '.join(_SIZES)}")
    if match.end() != len(value):
        raise InvalidText(what, value, match.end() + 1, "expected nothing after the unit")
    size = float(match[1]) * factor
    if size >= 2**63:
        raise InvalidText(what, value, 1, "expected less than 8 EiB")
    return int(size)


def format_seconds(value: float) -> str:
    """Return a duration for people to read: `1h30m`, `1.5s`, `500ms`; finer than they need is rounded away."""
    if value < 0:
        return f"-{format_seconds(-value)}"
    rounded = round(value, 3)
    if rounded < 1:
        return f"{round(rounded * 1000)}ms" if rounded else "0s"
    if rounded < _UNITS["m"]:
        return f"{rounded:g}s"
    rest = round(rounded)
    parts: list[str] = []
    for unit in ("d", "h", "m", "s"):
        count, rest = divmod(rest, int(_UNITS[unit]))
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts)


@lru_cache(maxsize=256)
def _from_text(text: str, what: str) -> float:
    if text.startswith("P"):
        return _from_iso(text, what)
    if text.startswith("-"):
        raise InvalidText(what, text, 1, "a duration in text cannot be negative")
    total, position, last = 0.0, 0, -1
    while position < len(text) or last < 0:
        match = _PART.match(text, position)
        if match is None:
            raise InvalidText(
                what, text, position + 1, "expected a number with a unit, such as '90s' or '1h30m'"
            )
        unit, column = match[2], match.start(2) + 1
        if unit not in _UNITS:
            raise InvalidText(what, text, column, f"expected a unit: {', '.join(_UNITS)}")
        if _ORDER.index(unit) <= last:
            raise InvalidText(what, text, column, "each unit can stand once, larger ones first")
        last = _ORDER.index(unit)
        total += float(match[1]) * _UNITS[unit]
        position = match.end()
    return _within_limit(total, what, text, 1)


def _from_iso(text: str, what: str) -> float:
    match = _ISO.match(text)
    end = match.end() if match else 1
    if match is None or end != len(text):
        raise InvalidText(
            what, text, end + 1, "expected an ISO 8601 duration of weeks or smaller units, such as 'PT90S'"
        )
    total = sum(float(count) * _UNITS[unit] for unit, count in match.groupdict("0").items())
    return _within_limit(total, what, text, 1)


def _to_float(value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -MAX_SECONDS


def _within_limit(number: float, what: str, text: str, column: int) -> float:
    if number > MAX_SECONDS:
        raise InvalidText(what, text, column, "expected at most 100 years (36500d)")
    return number
