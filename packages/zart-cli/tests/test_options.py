from datetime import UTC, datetime, timedelta

import pytest
import typer

from zart_cli.options import parse_duration, parse_future_moment, parse_moment, tags_of


def test_a_bad_duration_shows_text_column_and_grammar() -> None:
    with pytest.raises(typer.BadParameter, match=r"'abc' at column 1: expected a number with a unit"):
        parse_duration("abc")


def test_durations_are_seconds() -> None:
    assert parse_duration("1h30m") == 5400


def test_a_duration_means_so_long_ago_or_so_long_from_now() -> None:
    now = datetime.now(UTC)
    assert abs(parse_moment("2h") - (now - timedelta(hours=2))) < timedelta(seconds=5)
    assert abs(parse_future_moment("2h") - (now + timedelta(hours=2))) < timedelta(seconds=5)


def test_times_need_a_zone() -> None:
    assert parse_moment("2030-01-31T09:00:00Z") == datetime(2030, 1, 31, 9, tzinfo=UTC)
    with pytest.raises(typer.BadParameter, match="write 2030-01-31T09:00:00Z"):
        parse_moment("2030-01-31T09:00:00")
    with pytest.raises(typer.BadParameter, match="write 2030-01-31T00:00:00Z"):
        parse_moment("2030-01-31")


@pytest.mark.parametrize("text", ["soon", "", "2030-13-01"])
def test_what_is_neither_time_nor_duration_is_refused(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"neither a time .* nor a duration"):
        parse_moment(text)


def test_tags_are_names_and_values() -> None:
    assert tags_of(["a=1", "b=x=y", "c="]) == {"a": "1", "b": "x=y", "c": ""}
    assert tags_of(None) == {}
    with pytest.raises(typer.BadParameter, match="'a' is not of the form name=value"):
        tags_of(["a"])
