"""Whatever can be stored comes back the same (L2), for values nobody thought of."""

from __future__ import annotations

import math
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zart_core.arguments import Parameters
from zart_core.codec import MISSING, Codec, args_hash, canonical_json
from zart_core.duration import format_seconds, parse_size, seconds
from zart_core.errors import InvalidText
from zart_core.faults import record, restore
from zart_core.packing import pack, unpack
from zart_core.retry import MAX_RETRIES, RetryPolicy

few = settings(max_examples=40, deadline=None)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
any_texts = st.text(st.characters(), max_size=8)
scalars = st.none() | st.booleans() | st.integers() | st.floats() | texts
json_values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)
plain_values = st.recursive(
    scalars | st.binary(max_size=8) | any_texts,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(any_texts, inner, max_size=3)
    ),
    max_leaves=5,
)
durations = st.floats(0, 1e9).map(lambda value: round(value, 6))


@few
@given(json_values)
@pytest.mark.parametrize("annotation", [MISSING, Any])
def test_json_values_come_back_exactly(annotation: Any, value: Any) -> None:
    codec = Codec.of(annotation, what="value")
    payload, decoded = codec.encode(value, "value")
    assert repr(decoded) == repr(codec.decode(payload, "value")) == repr(value)


@few
@given(
    st.lists(
        st.tuples(st.integers() | texts, st.floats(), st.frozensets(st.binary(max_size=4), max_size=3)),
        max_size=4,
    )
)
def test_typed_values_come_back_exactly(value: Any) -> None:
    codec = Codec.of(list[tuple[int | str, float, frozenset[bytes]]], what="value")
    payload, decoded = codec.encode(value, "value")
    for one, other, original in zip(decoded, codec.decode(payload, "value"), value, strict=True):
        assert repr(one[:2]) == repr(other[:2]) == repr(original[:2])
        assert one[2] == other[2] == original[2]


@few
@given(plain_values)
def test_what_exceptions_carry_comes_back_exactly(value: Any) -> None:
    assert repr(unpack(pack(value))) == repr(value)


@few
@given(st.lists(plain_values, max_size=3), any_texts)
def test_exceptions_come_back_with_arguments_and_notes(args: list[Any], note: str) -> None:
    error = ValueError(*args)
    error.add_note(note)
    restored = restore(record(error))
    assert type(restored) is ValueError
    assert (repr(restored.args), str(restored), restored.__notes__) == (repr(error.args), str(error), [note])


@few
@given(st.dictionaries(texts, json_values, max_size=3))
def test_order_of_keys_matters_to_no_hash(value: dict[str, Any]) -> None:
    other = dict(reversed(value.items()))
    assert canonical_json(value) == canonical_json(other)
    assert args_hash(value) == args_hash(other)
    assert args_hash({"x": value}) == args_hash({"x": other})


@few
@given(
    st.lists(st.integers(), max_size=3),
    st.dictionaries(texts, st.floats(allow_nan=False), max_size=3),
    st.data(),
)
def test_arguments_come_back_as_given(
    rest: list[int], options: dict[str, float], data: st.DataObject
) -> None:
    async def workflow(first: int, *rest: int, flag: bool = False, **options: float) -> None: ...

    kwargs: dict[str, Any] = {
        key: value for key, value in options.items() if key not in ("first", "flag", "rest")
    }
    if data.draw(st.booleans()):
        kwargs["flag"] = True
    parameters = Parameters.of(workflow)
    args, received = parameters.decode(parameters.encode((1, *rest), kwargs))
    expected = ((1, *rest), kwargs) if rest else ((), {"first": 1, **kwargs})
    assert (args, received) == expected


@few
@given(
    st.integers(0, MAX_RETRIES),
    durations,
    st.floats(1, 1000),
    st.none() | durations,
    st.sampled_from(["none", "full"]),
)
def test_a_policy_is_read_from_its_own_text(
    retries: int, delay: float, factor: float, longest: float | None, jitter: Any
) -> None:
    policy = RetryPolicy(retries, delay, factor, longest, jitter)
    assert RetryPolicy.parse(str(policy)) == policy


@few
@given(
    st.integers(0, 10),
    durations,
    st.floats(1, 1000),
    st.integers(1, 2_000_000),
    st.floats(0, 1, exclude_max=True),
)
def test_delays_are_finite_and_never_negative(
    retries: int, delay: float, factor: float, attempt: int, chance: float
) -> None:
    wait = RetryPolicy(retries, delay, factor, jitter="full").next_delay(attempt, chance)
    assert (wait is None) == (attempt > retries)
    assert wait is None or 0 <= wait < math.inf


@few
@given(st.timedeltas(timedelta(0), timedelta(days=36_500)))
def test_what_is_written_for_people_is_read_as_nearly_the_same(length: timedelta) -> None:
    value = length.total_seconds()
    tolerance = 0.5 if value >= 60 else 0.0005
    assert abs(seconds(format_seconds(value)) - value) <= tolerance + 1e-6


@few
@given(
    st.text(max_size=12) | st.text("PT0123456789.hmsdw-", max_size=8) | st.text("fixed(3, 1s=)", max_size=20)
)
def test_any_text_is_read_or_refused_within_its_columns(text: str) -> None:
    for parse in (seconds, parse_size, RetryPolicy.parse):
        column = 1
        try:
            parse(text)
        except InvalidText as error:
            column = error.column
        assert 1 <= column <= len(text) + 1
