import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple

from zart_cli.plain import to_json, to_plain
from zart_core import EventReceipt, Failure, RunState


def test_records_keep_their_field_names() -> None:
    assert to_plain(EventReceipt("7", duplicate=False, waiting=True, matched=1)) == {
        "event_id": "7",
        "duplicate": False,
        "waiting": True,
        "matched": 1,
    }


class Named(NamedTuple):
    name: str
    parts: tuple[int, ...]


def test_named_tuples_are_records_too() -> None:
    assert to_plain(Named("a", (1, 2))) == {"name": "a", "parts": [1, 2]}


def test_a_failure_is_written_without_the_live_exception() -> None:
    failure = Failure("error", "ValueError", "bad", "Traceback", ValueError("bad"))
    assert set(to_plain(failure)) == {"kind", "type", "message", "traceback"}


def test_states_times_and_tuples_become_json() -> None:
    value = {"state": RunState.RUNNING, "at": datetime(2030, 1, 1, tzinfo=UTC), "steps": (1, [2])}
    assert to_plain(value) == {"state": "running", "at": "2030-01-01T00:00:00Z", "steps": [1, [2]]}
    assert type(to_plain(RunState.RUNNING)) is str


def test_other_types_are_written_as_pydantic_writes_them() -> None:
    assert to_plain(Decimal("1.10")) == "1.10"


def test_text_of_any_language_stays_readable() -> None:
    assert to_json({"name": "Müller 東京"}, indent=None) == '{"name": "Müller 東京"}'


def test_json_comes_back_as_it_was() -> None:
    value = {"big": 2**70, "nul": "\x00", "list": [None, True, 1.5]}
    assert json.loads(to_json(value)) == value
