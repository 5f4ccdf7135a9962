"""Values and payloads (L2): what the body gets is what the store gives back, and nothing is lost silently."""

from __future__ import annotations

import enum
import json
import logging
import math
import sys
import threading
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Literal, Never, NoReturn, TypedDict
from uuid import UUID

import pytest
import typing_extensions
from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, SecretStr, computed_field, field_validator
from pydantic.dataclasses import dataclass as pydantic_dataclass

from zart_core.codec import MISSING, Codec
from zart_core.errors import ConfigurationError, PayloadInvalid, PayloadTooLarge

WHAT = "result of step 'charge'"


class Receipt(BaseModel):
    amount: float
    note: str | None = None


class Signed(Receipt):
    signature: str = ""


class Aliased(BaseModel):
    total: int = Field(alias="Total", default=0)

    @computed_field  # type: ignore[prop-decorator] # the documented way
    @property
    def doubled(self) -> int:
        return self.total * 2


class Blob(BaseModel):
    data: bytes


class SafeBlob(Blob):
    model_config = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")


class Secretive(BaseModel):
    shown: int = 0
    hidden: int = Field(default=0, exclude=True)
    _cache: int = PrivateAttr(default=0)


class Defaulted(BaseModel):
    data: bytes = b"\xff"


class Maybe(BaseModel):
    x: float | None


class Fussy(BaseModel):
    text: str

    @field_validator("text")
    @classmethod
    def fail(cls, value: str) -> str:
        if value == "boom":
            raise RuntimeError("the validator broke")
        return value


class Colour(enum.Enum):
    RED = "red"


class Shade(enum.StrEnum):
    DARK = "dark"


@dataclass
class Point:
    x: float
    y: list[int] = field(default_factory=list)


@dataclass
class Packet:
    data: bytes


@pydantic_dataclass(eq=False)
class Bare:
    """Has no equality of its own."""

    x: float


class Parts(typing_extensions.TypedDict):
    a: int


class Text(str):
    __slots__ = ()


class Unequal(BaseModel):
    x: int

    def __eq__(self, other: object) -> bool:
        raise ValueError("equality is ambiguous")

    __hash__ = None  # type: ignore[assignment] # goes with the equality above


def codec(annotation: Any) -> Codec:
    return Codec.of(annotation, what=WHAT)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (int, 5),
        (int, 10**40),
        (str, "a\0b \u2028 é 🙂"),
        (float, -0.0),
        (float, math.inf),
        (bytes, b"\xff\x00"),
        (None, None),
        (bool, True),
        (Receipt, Receipt(amount=1.5)),
        (Receipt | None, None),
        (Receipt | Signed, Signed(amount=1, signature="x")),
        (int | str, "1"),
        (Aliased, Aliased(Total=4)),
        (SafeBlob, SafeBlob(data=b"\xff")),
        (Secretive, Secretive(shown=3)),
        (Point, Point(1.0, [2])),
        (Packet, Packet(b"\xff")),
        (Parts, {"a": 1}),
        (Colour, Colour.RED),
        (list[Receipt], [Receipt(amount=1)]),
        (dict[int, set[str]], {1: {"a", "b"}}),
        (tuple[int, str], (1, "a")),
        (frozenset[int], frozenset({1})),
        (Decimal, Decimal("1.10")),
        (UUID, UUID(int=5)),
        (timedelta, timedelta(days=1, microseconds=3)),
        (datetime, datetime(2024, 1, 1, tzinfo=UTC)),
        (Literal["a"], "a"),
        (Any, {"a": [1, 2.5, None, True, "x"]}),
        (MISSING, {"a": [1, 2.5, None, True, {"b": []}]}),
        (MISSING, 10**40),
        (MISSING, None),
        (NoReturn, "json"),
        (Never, "json"),
    ],
)
def test_a_value_comes_back_equal_and_of_its_type(annotation: Any, value: Any) -> None:
    payload, decoded = codec(annotation).encode(value, WHAT)
    for received in (decoded, codec(annotation).decode(payload, WHAT)):
        assert received == value
        assert type(received) is type(value)


@pytest.mark.parametrize(
    ("annotation", "value", "received"),
    [(float, 3, 3.0), (int, True, 1), (str, Text("x"), "x"), (str, Shade.DARK, "dark")],
)
def test_a_scalar_may_become_its_plain_type_live_as_on_replay(
    annotation: Any, value: Any, received: Any
) -> None:
    payload, decoded = codec(annotation).encode(value, WHAT)
    assert (decoded, type(decoded)) == (received, type(received))
    assert codec(annotation).decode(payload, WHAT) == received


@pytest.mark.parametrize("annotation", [float, MISSING, Any])
def test_nan_round_trips(annotation: Any) -> None:
    payload, decoded = codec(annotation).encode(math.nan, WHAT)
    assert payload == b"NaN"
    assert math.isnan(decoded)


@pytest.mark.parametrize(
    ("annotation", "value"),
    [
        (list[float], [math.nan]),
        (dict[str, float], {"a": math.nan}),
        (Bare, Bare(x=1.0)),
        (Bare, Bare(x=math.nan)),
        (Point, Point(math.nan)),
        (Receipt, Receipt(amount=math.nan)),
        (list[Maybe], [Maybe(x=math.nan)]),
        (Unequal, Unequal(x=1)),
    ],
)
def test_nan_and_objects_without_equality_are_compared_inside(annotation: Any, value: Any) -> None:
    payload, decoded = codec(annotation).encode(value, WHAT)
    assert repr(decoded) == repr(value)
    assert repr(codec(annotation).decode(payload, WHAT)) == repr(value)


def test_none_is_stored_as_null() -> None:
    assert codec(MISSING).encode(None, WHAT) == (b"null", None)
    assert codec(None).encode(None, WHAT) == (b"null", None)


@pytest.mark.parametrize(
    ("annotation", "value", "texts"),
    [
        (int, "abc", ["`str`", "as `int`", "annotate it `str`"]),
        (int, 5.0, ["`float`", "as `int`"]),
        (str, 5, ["`int`", "as `str`"]),
        (None, 5, ["as `None`", "annotate it `int`"]),
        (Any, (1, 2), ["come back as `list[int]`", "annotate it `tuple[int, int]`"]),
        (Any, {1, 2}, ["annotate it `set[int]`"]),
        (Any, {1: "a"}, ["annotate it `dict[int, str]`"]),
        (Any, datetime(2024, 1, 1, tzinfo=UTC), ["annotate it `datetime`"]),
        (Any, Colour.RED, ["annotate it `Colour`"]),
        (Any, Receipt(amount=1), ["annotate it `Receipt`"]),
        (Any, Point(1), ["annotate it `Point`"]),
        (list, [Receipt(amount=1)], ["[0] is `Receipt`", "annotate it `list[Receipt]`"]),
        (Receipt, Signed(amount=1), ["is `Signed`", "annotate it `Signed`"]),
        (list[Receipt], [Signed(amount=1)], ["as `list[Receipt]`", "annotate it `list[Signed]`"]),
        (Receipt, {"amount": 1}, ["as `Receipt`", "dict[str, int]"]),
        (tuple[int, ...], [1], ["as `tuple[int, ...]`", "annotate it `list[int]`"]),
        (int | None, "x", ["as `int | None`"]),
        (typing_extensions.Annotated[int, "kept"], "x", ["as `int`"]),
        (Literal["a", 1], "x", ["as `Literal['a', 1]`"]),
        (tuple[int, ...], (1, 2, 3, 4, "x"), ["tuple[int | str, ...]"]),
        (SecretStr, SecretStr("pw"), ["SecretStr"]),
        (Secretive, Secretive(hidden=3), ["hidden"]),
        (dict, {"a": {1: 2}}, ["['a'] is `dict[int, int]`"]),
        (dict[str, Any], {"a": {"b": (1,)}}, ["['a']['b'] is `tuple[int]`"]),
        (Fussy, Fussy.model_construct(text="boom"), ["the validator broke"]),
        (Receipt, Receipt.model_construct(amount="x"), ["amount: Input should be a valid number"]),
        (str, "\ud800", ["surrogates"]),
        (MISSING, "\ud800", ["surrogates"]),
        (list[int], [10**5000], ["out of range"]),
        (MISSING, [10**5000], ["out of range"]),
        (Any, threading.Lock(), ["unknown type", "plain data"]),
        (Blob, Blob(data=b"\xff"), ["ser_json_bytes='base64'"]),
        (list[list[int]], [[1], [2.5]], ["[1][0]"]),
        (Any, [1, "a", None, 2.5, (1,)], ["list[Any]"]),
    ],
)
def test_what_would_not_come_back_equal_is_refused(annotation: Any, value: Any, texts: list[str]) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        codec(annotation).encode(value, WHAT)
    for text in (WHAT, *texts):
        assert text in str(caught.value)


def test_a_private_attribute_would_be_lost() -> None:
    value = Secretive(shown=1)
    value._cache = 7
    with pytest.raises(PayloadInvalid, match="_cache"):
        codec(Secretive).encode(value, WHAT)


@pytest.mark.parametrize(
    ("value", "place"),
    [
        ((1, 2), "it is tuple; annotate it, such as `tuple[int, int]`"),
        ({"a": [1, {2}]}, r"['a'][1] is set"),
        ({1: "a"}, "the key 1 is int"),
        (Text("x"), "it is Text"),
        ([Shade.DARK], "[0] is Shade"),
        (object(), "it is object"),
        ({}.keys(), "it is dict_keys"),
        ((), "it is tuple"),
    ],
)
def test_without_an_annotation_only_json_is_stored(value: Any, place: str) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        codec(MISSING).encode(value, WHAT)
    assert place in str(caught.value)
    assert "str-keyed dict" in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_value_that_holds_itself_is_refused() -> None:
    endless: list[Any] = []
    endless.append(endless)
    for annotation in (MISSING, Any):
        with pytest.raises(PayloadInvalid):
            codec(annotation).encode(endless, WHAT)


def test_a_payload_of_another_shape_is_refused_with_its_path() -> None:
    with pytest.raises(
        PayloadInvalid, match=r"the payload of 'paid' is not list\[Receipt\]: \[1\]\.amount: .*number"
    ):
        codec(list[Receipt]).decode(b'[{"amount":1},{"amount":"x"}]', "payload of 'paid'")
    with pytest.raises(PayloadInvalid, match="is not JSON"):
        codec(MISSING).decode(b"{", WHAT)


def test_at_most_three_errors_are_told() -> None:
    with pytest.raises(PayloadInvalid, match="and 2 more"):
        codec(list[int]).decode(b'["a","b","c","d","e"]', WHAT)


def test_people_may_write_an_alias_or_the_name() -> None:
    assert (
        codec(Aliased).decode(b'{"Total":3}', WHAT)
        == codec(Aliased).decode(b'{"total":3}', WHAT)
        == Aliased(Total=3)
    )


def test_sizes_are_checked_before_anything_is_written(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    with pytest.raises(PayloadTooLarge) as caught:
        codec(str).encode("x" * 99, WHAT, 100)
    assert (caught.value.what, caught.value.size, caught.value.limit) == (WHAT, 101, 100)
    assert not caplog.records
    codec(str).encode("x" * 2**20, WHAT)
    assert "1,048,578 bytes" in caplog.text
    with pytest.raises(PayloadTooLarge):
        codec(str).encode("x" * 2**24, WHAT)


def test_only_what_was_set_is_stored_of_an_argument_if_that_comes_back_equal() -> None:
    numbers = iter(range(9))

    class Stamped(BaseModel):
        a: int = 1
        stamp: UUID = Field(default_factory=lambda: UUID(int=next(numbers)))

    class Needy(BaseModel):
        a: int

    unset = Needy.model_construct(_fields_set=set(), a=1)
    assert codec(Receipt).encode_given(Receipt(amount=1), WHAT) == b'{"amount":1.0}'
    assert b"stamp" in codec(Stamped).encode_given(Stamped(), WHAT)
    assert codec(Needy).encode_given(unset, WHAT) == b'{"a":1}'
    assert codec(MISSING).encode_given([1], WHAT) == b"[1]"


class Plain(TypedDict):
    a: int


plain = pytest.param(
    Plain, marks=pytest.mark.skipif(sys.version_info >= (3, 12), reason="pydantic takes it since Python 3.12")
)


@pytest.mark.parametrize("annotation", [threading.Lock, plain, "Nowhere", 5])
def test_a_type_that_cannot_be_stored_is_a_configuration_error(annotation: Any) -> None:
    with pytest.raises(
        ConfigurationError, match=r"result of step 'charge' is annotated .* cannot be stored"
    ) as caught:
        codec(annotation)
    assert caught.value.__cause__ is None


def test_the_cause_of_a_refusal_is_users_code_never_the_workings_of_pydantic() -> None:
    class Odd:
        pass

    class Faulty:
        @classmethod
        def __get_pydantic_core_schema__(cls, *_: object) -> Any:
            raise ZeroDivisionError

    with pytest.raises(PayloadInvalid) as refused:
        codec(Any).encode(Odd(), WHAT)
    assert refused.value.__cause__ is None
    with pytest.raises(ConfigurationError) as failed:
        codec(Faulty)
    assert isinstance(failed.value.__cause__, ZeroDivisionError)


def test_codecs_are_shared_but_not_between_unions_of_another_order() -> None:
    assert codec(list[int]) is codec(list[int])
    assert codec(int | str) is not codec(str | int)


def test_an_annotation_that_cannot_be_hashed_works() -> None:
    annotation = typing_extensions.Annotated[int, Field(json_schema_extra={"a": 1}), []]
    assert codec(annotation).encode(1, WHAT) == (b"1", 1)


def test_the_schema_tells_the_shape() -> None:
    assert codec(int).json_schema() == {"type": "integer"}
    assert codec(MISSING).json_schema() == {}
    assert codec(Aliased).json_schema()["properties"].keys() == {"Total"}
    assert codec(Aliased).json_schema("serialization")["properties"].keys() == {"total", "doubled"}
    assert "default" not in codec(Defaulted).json_schema()["properties"]["data"]
    assert codec(typing_extensions.Callable).json_schema() == {}
    assert json.dumps(codec(Receipt).json_schema())


def test_the_sentinel_says_what_it_is() -> None:
    assert repr(MISSING) == "MISSING"
