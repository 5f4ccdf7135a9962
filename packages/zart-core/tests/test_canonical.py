"""Canonical JSON and the hash of arguments: equal for equal values, in every process (L10)."""

from __future__ import annotations

import enum
import math
import os
import subprocess
import sys
from collections import UserDict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

import pytest
from pydantic import BaseModel, ConfigDict, Field

from zart_core.codec import args_hash, canonical_json
from zart_core.errors import PayloadInvalid


def test_canonical_json_sorts_keys_and_sets_and_has_no_spaces() -> None:
    value = {"b": {3, 1, 2}, "a": [1.5, None, True, "é"], "c": (frozenset({"y", "x"}),), "d": math.inf}
    assert (
        canonical_json(value) == '{"a":[1.5,null,true,"é"],"b":[1,2,3],"c":[["x","y"]],"d":Infinity}'.encode()
    )


@pytest.mark.parametrize("value", [object(), {(1, 2): 3}, {1: 2, "a": 3}, "\ud800", [10**5000]])
def test_what_json_has_no_form_for_is_refused(value: Any) -> None:
    with pytest.raises(PayloadInvalid):
        canonical_json(value)


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    with pytest.raises(PayloadInvalid):
        canonical_json(endless)


class Colour(enum.Enum):
    RED = "red"


class Old(BaseModel):
    a: int
    tags: set[str] = set()


class New(BaseModel):
    a: int
    tags: set[str] = set()
    note: str | None = None
    parts: list[int] = Field(default_factory=list)
    token: str = Field(default_factory=lambda: os.urandom(8).hex())


class Open(BaseModel):
    model_config = ConfigDict(extra="allow")


@dataclass
class OldPoint:
    x: int


@dataclass
class NewPoint:
    x: int
    y: int = 0
    z: list[int] = field(default_factory=list)


class Ambiguous:
    def __eq__(self, other: object) -> bool:
        raise ValueError("ambiguous")

    __hash__ = None  # type: ignore[assignment] # goes with the equality above


@dataclass
class Holder:
    x: Any = field(default_factory=Ambiguous)


def digest(value: Any) -> bytes:
    return args_hash({"x": value})


def test_a_hash_has_16_bytes_and_depends_on_names_not_on_their_order() -> None:
    assert len(args_hash({})) == 16
    assert args_hash({"a": 1, "b": 2}) == args_hash({"b": 2, "a": 1}) != args_hash({"a": 2, "b": 1})
    assert args_hash({"a": 1}) != args_hash({"a": 1, "b": None})


@pytest.mark.parametrize(
    "values",
    [
        [
            1,
            2,
            "1",
            True,
            None,
            1.5,
            math.nan,
            "é",
            [1],
            {"a": 1},
            {1: "a", "b": 2},
            b"a",
            Colour.RED,
            10**5000,
        ],
        [datetime(2024, 1, 1, tzinfo=UTC), date(2024, 1, 1), timedelta(1), UUID(int=1), Decimal("1.10")],
        [{(1, 2): 1}, {(1, 3): 1}, {(1, 2): {3}}, {(1, 2): [Colour.RED]}, {(1, 2): 1.5}, {(1, 2): 10**5000}],
        [Old(a=1), Old(a=2), Old(a=1, tags={"x"}), NewPoint(1), NewPoint(1, 1), NewPoint(1, 0, [1])],
        [
            PurePosixPath("a"),
            {"a", "b"},
            {"a"},
            frozenset(),
            object(),
            object,
            UserDict(a=1),
            bytearray(b"b"),
        ],
        [{(1,): Old(a=1)}, {(1,): OldPoint(2)}, {(1,): object()}, {(1,): UserDict(b=1)}, {(1,): True}],
        [{"x": 10**5000}, {"x": 10**5001}, {(1,): None}, {(1,): Decimal(1)}],
    ],
)
def test_different_values_differ_and_equal_ones_agree(values: list[Any]) -> None:
    assert len({digest(value) for value in values}) == len(values)
    assert [digest(value) for value in values] == [digest(value) for value in values]


def test_text_cannot_run_into_the_next_argument() -> None:
    assert args_hash({"a": '1"\nb\n"2'}) != args_hash({"a": "1", "b": "2"})


def test_a_new_optional_field_changes_nothing() -> None:
    assert digest(Old(a=1)) == digest(New(a=1)) == digest(New(a=1, note=None, parts=[]))
    assert digest(Old(a=1)) != digest(New(a=1, token="given"))
    assert digest(OldPoint(1)) == digest(NewPoint(1))


def test_fields_that_nobody_declared_take_part() -> None:
    assert digest(Open.model_validate({"extra": 1})) != digest(Open.model_validate({"extra": 2}))


def test_tuples_are_lists_and_enums_are_their_values() -> None:
    assert digest((1, 2)) == digest([1, 2])
    assert digest(Colour.RED) == digest("red")


def test_what_has_no_text_takes_part_by_its_type() -> None:
    assert digest(object()) == digest(object()) != digest(print)
    endless: list[Any] = []
    endless.append(endless)
    assert digest(endless) == digest([endless])


def test_an_equality_that_raises_does_no_harm() -> None:
    @dataclass
    class Fixed:
        x: Any = None

    assert digest(Fixed(Ambiguous())) == digest(Fixed(Ambiguous()))
    assert digest(Holder()) == digest(Holder())
    assert digest(Peculiar(x=Ambiguous())) == digest(Peculiar(x=Ambiguous()))


class Peculiar(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    x: Any = Ambiguous()


def test_a_hash_is_the_same_in_every_process() -> None:
    code = (
        "from zart_core.codec import args_hash, canonical_json\n"
        "print(args_hash({'a': {'x', 'y', 'z'}}).hex(), canonical_json({'q', 'r', 's'}).decode())"
    )
    elsewhere = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONHASHSEED": "7"},
        capture_output=True,
        check=True,
    )
    assert elsewhere.stdout.decode().split() == [args_hash({"a": {"x", "y", "z"}}).hex(), '["q","r","s"]']
