"""Arguments of a start: one canonical object by parameter name, of what was given only."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from zart_core.arguments import Parameters, input_hash, wrap_input
from zart_core.errors import ConfigurationError, PayloadInvalid, PayloadTooLarge


class Order(BaseModel):
    order_id: str
    amount: float
    note: str | None = None


class Basket(BaseModel):
    orders: dict[str, list[Order]]
    labels: set[str] = set()


async def one(order: Order) -> None: ...
async def none() -> None: ...
async def several(order_id: str, amount: float = 1.0, *, note: str | None = None) -> None: ...
async def untyped(value, more=None): ...  # type: ignore[no-untyped-def] # noqa: ANN001, ANN201 - that is the point
async def variadic(first: int, second: int = 2, *rest: int, flag: bool = False, **options: float) -> None: ...
async def loose(*rest, **options): ...  # type: ignore[no-untyped-def] # noqa: ANN201 - that is the point
async def positional(a: int, b: int = 7, /, c: int = 9) -> None: ...
async def baskets(basket: Basket, tags: frozenset[str], groups: list[tuple[int, set[str]]] = []) -> None: ...  # noqa: B006
async def with_context(ctx: Any, order: Order) -> None: ...


def test_what_is_given_is_stored_by_name_without_defaults() -> None:
    parameters = Parameters.of(several)
    assert parameters.names == ("order_id", "amount", "note")
    assert parameters.required == ("order_id",)
    assert parameters.encode(("o1",), {}) == b'{"order_id":"o1"}'
    assert (
        parameters.encode(("o1",), {"note": None, "amount": 2})
        == b'{"amount":2.0,"note":null,"order_id":"o1"}'
    )


def test_fields_of_models_that_nobody_set_are_not_stored() -> None:
    assert (
        Parameters.of(one).encode((Order(order_id="1", amount=2),), {})
        == b'{"order":{"amount":2.0,"order_id":"1"}}'
    )


@pytest.mark.parametrize(
    ("fn", "args", "kwargs"),
    [
        (one, (Order(order_id="1", amount=2, note="x"),), {}),
        (none, (), {}),
        (several, ("o1", 2.5), {"note": "n"}),
        (several, ("o1",), {"note": None}),
        (untyped, ({"a": [1]},), {}),
        (variadic, (1,), {}),
        (variadic, (1, 2, 3, 4), {"flag": True, "x": 1.5}),
        (variadic, (1,), {"second": 3, "y": 2.0}),
        (loose, (1, "a"), {"k": None}),
        (positional, (1,), {"c": 4}),
        (positional, (1, 2), {}),
        (
            baskets,
            (Basket(orders={"a": [Order(order_id="1", amount=1)]}, labels={"x"}), frozenset({"y"})),
            {},
        ),
    ],
)
def test_the_function_is_called_as_it_was_given(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: Any
) -> None:
    import inspect

    parameters = Parameters.of(fn)
    received_args, received_kwargs = parameters.decode(parameters.encode(args, kwargs))
    signature = inspect.signature(fn)
    expected, received = signature.bind(*args, **kwargs), signature.bind(*received_args, **received_kwargs)
    expected.apply_defaults()
    received.apply_defaults()
    assert received == expected


@pytest.mark.parametrize(
    ("args", "kwargs", "text"),
    [
        ((), {}, r"several\(\) missing a required argument: 'order_id'"),
        (("a", 1, 2), {}, r"several\(\) too many positional arguments"),
        (("a",), {"colour": 1}, r"several\(\) got an unexpected keyword argument 'colour'"),
    ],
)
def test_a_wrong_call_is_a_type_error_like_pythons_own(args: Any, kwargs: Any, text: str) -> None:
    with pytest.raises(TypeError, match=text):
        Parameters.of(several).encode(args, kwargs)


@pytest.mark.parametrize(
    ("fn", "args", "path"),
    [
        (several, (5,), "order_id: Input should be a valid string"),
        (several, ("a", "b"), "amount: Input should be a valid number"),
        (several, ("a", "2"), "amount is `str`"),
        (one, ({"order_id": "1", "amount": 2},), "order is `dict[str, int | str]`"),
        (
            one,
            (Order.model_construct(order_id="1", amount="x"),),
            "order.amount: Input should be a valid number",
        ),
        (untyped, ((1, 2),), "argument 'value' of untyped"),
        (baskets, (Basket(orders={}), {"x"}), "tags is `set[str]`"),
    ],
)
def test_a_value_of_the_wrong_shape_is_refused_with_its_path(fn: Any, args: Any, path: str) -> None:
    with pytest.raises(PayloadInvalid) as caught:
        Parameters.of(fn).encode(args, {})
    assert path in str(caught.value)
    assert fn.__name__ in str(caught.value)


def test_sets_are_stored_in_a_fixed_order_wherever_they_are() -> None:
    many = {str(number) for number in range(50)}
    basket = Basket(orders={"a": []}, labels=many)
    stored = json.loads(Parameters.of(baskets).encode((basket, frozenset(many)), {"groups": [(1, many)]}))
    assert stored["basket"]["labels"] == stored["tags"] == stored["groups"][0][1] == sorted(many)
    assert stored["basket"]["orders"] == {"a": []}


def test_inputs_that_are_too_large_are_refused() -> None:
    with pytest.raises(PayloadTooLarge):
        Parameters.of(several).encode(("x" * 100,), {}, 50)
    with pytest.raises(PayloadTooLarge, match="input of several"):
        Parameters.of(several).encode(("x" * 40,), {"note": "y" * 20}, 50)


@pytest.mark.parametrize(
    ("fn", "payload", "text"),
    [
        (one, b'{"order":{"order_id":"1","amount":"q"}}', r"order\.amount: Input should be a valid number"),
        (one, b"{}", "order: Field required"),
        (one, b'{"order":{"order_id":"1","amount":1},"x":1}', "x: Extra inputs are not permitted"),
        (one, b"[]", "Input should be an object"),
        (one, b"{", "Invalid JSON"),
        (
            baskets,
            b'{"basket":{"orders":{"a":[{"order_id":1}]}},"tags":[]}',
            r"basket\.orders\.a\[0\]\.order_id",
        ),
    ],
)
def test_an_input_that_does_not_fit_is_refused_with_its_path(fn: Any, payload: bytes, text: str) -> None:
    with pytest.raises(PayloadInvalid, match=text):
        Parameters.of(fn).decode(payload)


def test_the_schema_is_that_of_what_people_give() -> None:
    assert Parameters.of(none).input_schema() == {"type": "null"}
    assert Parameters.of(one).input_schema() == Order.model_json_schema()
    schema = Parameters.of(several).input_schema()
    assert (schema["type"], schema["required"], schema["additionalProperties"]) == (
        "object",
        ["order_id"],
        False,
    )
    assert list(schema["properties"]) == ["order_id", "amount", "note"]


def test_types_without_a_schema_accept_anything() -> None:
    async def calls(first: Callable[[], int], second: int) -> None: ...

    assert Parameters.of(calls, locals()).input_schema() == {
        "type": "object",
        "required": ["first", "second"],
    }


def test_input_is_the_only_parameter_or_an_object_by_name() -> None:
    assert (
        Parameters.of(one).from_input({"order_id": "1", "amount": 2})
        == b'{"order":{"amount":2,"order_id":"1"}}'
    )
    assert Parameters.of(several).from_input({"order_id": "1"}) == b'{"order_id":"1"}'
    assert Parameters.of(none).from_input() == Parameters.of(none).from_input(None) == b"{}"
    with pytest.raises(PayloadInvalid, match="order: Field required"):
        Parameters.of(one).from_input()
    with pytest.raises(PayloadInvalid, match=r"order\.amount"):
        Parameters.of(one).from_input({"order_id": "1"})


@pytest.mark.parametrize(
    ("names", "value", "text"),
    [
        ((), {"a": 1}, "a: the workflow has no such parameter"),
        ((), 5, "takes no input"),
        (("a", "b"), [1, 2], r"an object by parameter name \(a, b\)"),
        (("a", "b"), None, "an object by parameter name"),
        (("a", "b"), {"a": 1, "c": 2}, "c: the workflow has no such parameter"),
    ],
)
def test_input_of_another_form_is_refused_knowing_only_the_names(names: Any, value: Any, text: str) -> None:
    with pytest.raises(PayloadInvalid, match=text):
        wrap_input(names, value)


def test_input_is_wrapped_knowing_only_the_names() -> None:
    assert wrap_input(("order",), {"b": 1, "a": 2}) == b'{"order":{"a":2,"b":1}}'
    assert wrap_input(("order",), None) == b'{"order":null}'
    assert wrap_input(("order",)) == wrap_input(("a", "b")) == wrap_input((), {}) == b"{}"


def test_a_start_from_python_and_one_from_json_are_the_same_input() -> None:
    parameters = Parameters.of(one)
    from_python = parameters.encode((Order(order_id="1", amount=30),), {})
    from_json = wrap_input(parameters.names, {"order_id": "1", "amount": 30})
    assert from_python != from_json
    assert input_hash(from_python) == input_hash(from_json)
    assert input_hash(from_json) != input_hash(
        wrap_input(parameters.names, {"order_id": "1", "amount": 30.5})
    )
    assert len(input_hash(b'{"a":NaN}')) == 16


def test_parameters_can_be_left_out() -> None:
    parameters = Parameters.of(with_context, skip=("ctx",))
    assert parameters.names == ("order",)
    assert parameters.decode(b'{"order":{"order_id":"1","amount":2}}') == (
        (),
        {"order": Order(order_id="1", amount=2)},
    )


def test_a_parameter_that_cannot_be_stored_is_named() -> None:
    async def strange(lock: Parameters) -> None: ...

    with pytest.raises(ConfigurationError, match="parameter 'lock' of strange"):
        Parameters.of(strange)
