"""Moments and spans of time as people read them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from zart_cli.settings import TimeStyle
from zart_core.spi import format_seconds

_NOW = 1.0
_FRACTIONS_UNTIL = 10.0
_SHORTEST = 0.001
_DAY = 86_400


def moment_text(moment: datetime | None, now: datetime, style: TimeStyle = TimeStyle.RELATIVE) -> str:
    """Return `3m ago`, `in 2h`, or ISO 8601 in UTC; `-` for None."""
    if moment is None:
        return "-"
    if style is TimeStyle.ISO:
        return iso(moment)
    distance = (moment - now).total_seconds()
    if abs(distance) < _NOW:
        return "now"
    return f"in {rough(distance)}" if distance > 0 else f"{rough(-distance)} ago"


def iso(moment: datetime) -> str:
    """Return `2030-01-31T09:00:00.123Z`: UTC, as many digits as there are."""
    text = moment.astimezone(UTC).isoformat(timespec="auto" if moment.microsecond else "seconds")
    return text.replace("+00:00", "Z")


def rough(seconds: float) -> str:
    """Return a distance in time with the two largest units that matter: `45s`, `3m`, `2h10m`, `4d`."""
    whole = round(seconds)
    for unit, finer in ((_DAY, 3600), (3600, 60), (60, 1)):
        if whole >= 10 * unit:
            return format_seconds(whole // unit * unit)
        if whole >= unit:
            return format_seconds(whole // finer * finer)
    return f"{whole}s"


def took(start: datetime | None, end: datetime | None) -> str:
    """Return how long something took: `12ms`, `1.35s`, `2m5s`; empty unless it has begun and ended."""
    if start is None or end is None:
        return ""
    return span(end - start)


def span(length: timedelta) -> str:
    """Return a length of time with as many digits as people need."""
    seconds = max(0.0, length.total_seconds())
    if seconds < _SHORTEST:
        return "<1ms"
    if seconds >= _FRACTIONS_UNTIL:
        return format_seconds(round(seconds, 1) if seconds < 60 else round(seconds))  # noqa: PLR2004 - a minute
    return format_seconds(round(seconds, 2 if seconds >= 1 else 3))
