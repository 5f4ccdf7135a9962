from datetime import UTC, datetime, timedelta

import pytest

from zart_cli.settings import TimeStyle
from zart_cli.times import iso, moment_text, rough, span, took

NOW = datetime(2030, 1, 31, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("distance", "text"),
    [
        (timedelta(milliseconds=300), "now"),
        (timedelta(seconds=5), "in 5s"),
        (timedelta(minutes=58), "in 58m"),
        (timedelta(minutes=-3, seconds=-20), "3m20s ago"),
        (timedelta(hours=-2, minutes=-10, seconds=-3), "2h10m ago"),
        (timedelta(days=-12, hours=-3), "12d ago"),
    ],
)
def test_moments_are_told_from_now_on(distance: timedelta, text: str) -> None:
    assert moment_text(NOW + distance, NOW) == text


def test_iso_times_are_utc_whatever_zone_they_came_in() -> None:
    moment = datetime.fromisoformat("2030-01-31T10:00:00.250000+01:00")
    assert moment_text(moment, NOW, TimeStyle.ISO) == "2030-01-31T09:00:00.250000Z"
    assert iso(NOW) == "2030-01-31T09:00:00Z"


def test_no_moment_is_a_dash() -> None:
    assert moment_text(None, NOW) == "-"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "<1ms"), (0.0123, "12ms"), (1.3456, "1.35s"), (12.34, "12.3s"), (125, "2m5s"), (-1, "<1ms")],
)
def test_spans_have_as_many_digits_as_people_need(seconds: float, text: str) -> None:
    assert span(timedelta(seconds=seconds)) == text


def test_what_has_not_ended_took_no_time_yet() -> None:
    assert took(NOW, None) == took(None, NOW) == ""


@pytest.mark.parametrize(
    ("seconds", "text"), [(59, "59s"), (60, "1m"), (3600 * 30, "1d6h"), (86400 * 400, "400d")]
)
def test_rough_distances_have_two_units_at_most(seconds: float, text: str) -> None:
    assert rough(seconds) == text
