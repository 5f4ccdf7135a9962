import asyncio
import functools
import warnings
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from zart_core import (
    CallReused,
    ConfigurationError,
    InvalidText,
    Invocation,
    RetryPolicy,
    StepCall,
)
from zart_decorators import Step, Workflow, durable, step


class Order(BaseModel):
    order_id: str
    amount: float = 0.0


@step("charge", retry="exponential(3, 2s)", timeout="30s", no_retry_on=ValueError)
async def charge(order_id: str, amount: float = 1.0) -> str:
    """Charge the card."""
    return f"{order_id}:{amount}"


@step
def reserve_inventory(order_id: str) -> list[str]:
    return [order_id]


@durable(
    "order-fulfillment",
    version="2",
    timeout="30m",
    queue="orders",
    priority=5,
    on_divergence="block",
)
async def order_fulfillment(order: Order, note: str = "") -> dict[str, str]:
    """Fulfil an order."""
    return {"charge": await charge(order.order_id), "note": note}


def test_the_default_name_is_the_functions_with_dashes() -> None:
    @durable
    async def ship_the_order() -> None: ...

    assert ship_the_order.name == "ship-the-order"
    assert reserve_inventory.name == "reserve-inventory"
    assert step()(lambda: None).name == "<lambda>"


def test_options_are_kept() -> None:
    assert isinstance(order_fulfillment, Workflow)
    assert (order_fulfillment.name, order_fulfillment.version) == ("order-fulfillment", "2")
    assert (order_fulfillment.timeout, order_fulfillment.queue) == (1800.0, "orders")
    assert order_fulfillment.priority == 5
    assert (order_fulfillment.on_divergence, order_fulfillment.current) == ("block", True)
    assert isinstance(charge, Step)
    assert (charge.policy.retries, charge.policy.delay) == (3, 2.0)
    assert (charge.timeout, charge.timeout_scope, charge.no_retry_on) == (30.0, "global", (ValueError,))
    assert (charge.is_async, reserve_inventory.is_async) == (True, False)


def test_bare_and_empty_parentheses_mean_the_same() -> None:
    async def plain() -> None: ...

    for made in (durable(plain), durable()(plain), durable(None)(plain), durable("plain")(plain)):
        assert (made.name, made.version, made.queue, made.timeout) == ("plain", "1", "default", None)
    for unit in (step(plain), step()(plain), step(None)(plain), step("plain")(plain)):
        assert (unit.name, unit.timeout, unit.policy.retries) == ("plain", None, 0)


def test_what_is_decorated_still_looks_like_its_function() -> None:
    assert charge.__doc__ == "Charge the card."
    assert order_fulfillment.__doc__ == "Fulfil an order."
    assert charge.__module__ == __name__
    assert charge.__wrapped__ is charge.fn  # type: ignore[attr-defined] # as functools.wraps sets it


def test_outside_any_run_both_just_run_the_function() -> None:
    async def main() -> None:
        assert await charge("7") == "7:1.0"
        assert await reserve_inventory("7") == ["7"]
        assert await order_fulfillment(Order(order_id="7"), note="n") == {"charge": "7:1.0", "note": "n"}
        assert list(await asyncio.gather(charge("7", 2), reserve_inventory("8"))) == ["7:2", ["8"]]

    asyncio.run(main())


def test_a_call_is_used_once_and_carries_its_changes() -> None:
    async def main() -> None:
        call = (
            charge("7").named("pay").keyed("k").with_retry("fixed(1, 1s)").with_timeout(timedelta(seconds=5))
        )
        assert isinstance(call, StepCall)
        assert (call.name, call.key) == ("pay", "k")
        await call
        with pytest.raises(CallReused):
            await call

    asyncio.run(main())


def test_a_call_never_awaited_is_warned_about() -> None:
    with pytest.warns(RuntimeWarning, match=r"call 'charge' was never awaited \(.*test_decorators.py:\d+ in"):
        charge("7")


def test_wrong_arguments_to_a_step_fail_at_the_call() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(TypeError, match=r"charge\(\) missing a required argument: 'order_id'"):
            charge()  # type: ignore[call-arg] # that is what is refused
        with pytest.raises(TypeError, match=r"charge\(\) got an unexpected keyword"):
            charge("7", colour="red")  # type: ignore[call-arg] # that is what is refused


def test_a_workflows_call_is_an_invocation() -> None:
    order = Order(order_id="7")
    assert order_fulfillment.call(order, note="n") == Invocation(order_fulfillment, (order,), {"note": "n"})


def test_schemas_come_from_the_annotations() -> None:
    schema = order_fulfillment.input_schema()
    assert set(schema["properties"]) == {"order", "note"}
    assert schema["required"] == ["order"]
    assert order_fulfillment.result_schema() == {"additionalProperties": {"type": "string"}, "type": "object"}


def test_classes_of_the_function_around_are_found() -> None:
    class Local(BaseModel):
        n: int

    @durable("a")
    async def with_name(value: "Local") -> "list[Local]":
        return [value]

    @durable
    async def bare(value: "Local") -> "Local":
        return value

    @step("b")
    def with_step_name(value: "Local") -> "Local":
        return value

    @step
    def bare_step(value: "Local") -> "Local":
        return value

    assert with_name.input_schema()["properties"] == {"n": {"title": "N", "type": "integer"}}
    assert with_name.result_codec().decode(b'[{"n":1}]', "result") == [Local(n=1)]
    for made in (bare, with_step_name, bare_step):
        assert made.result_codec().decode(b'{"n":1}', "result") == Local(n=1)


def test_a_decorator_held_back_sees_the_names_of_where_it_is_used() -> None:
    deferred = step("later")

    def define() -> Step[..., Any]:
        class Inner(BaseModel):
            n: int

        @deferred
        def use(value: "Inner") -> "Inner":
            return value

        return use

    assert define().result_codec().decode(b'{"n":1}', "result").n == 1


def test_annotations_are_resolved_at_first_use_not_at_decoration() -> None:
    @durable
    async def later(value: "DefinedBelow") -> None: ...

    assert set(later.input_schema()["properties"]) == {"m"}


class DefinedBelow(BaseModel):
    m: int


def test_a_missing_name_is_told_with_its_function() -> None:
    @durable
    async def broken(value: "Nowhere") -> None: ...  # type: ignore[name-defined] # noqa: F821 - that is what is refused

    with pytest.raises(ConfigurationError, match=r"broken.*'Nowhere'"):
        broken.input_schema()


def _sync() -> None: ...


async def _asynchronous() -> None: ...


@pytest.mark.parametrize(
    ("decorate", "reason"),
    [
        (lambda: durable(_sync), "must be an async function: write `async def`"),  # type: ignore[arg-type] # refused
        (lambda: durable("")(_asynchronous), "1 to 255 characters"),
        (lambda: durable("a" * 256)(_asynchronous), "the limit is 255"),
        (lambda: durable("a\nb")(_asynchronous), "control characters"),
        (lambda: durable(7)(_asynchronous), "must be a text"),  # type: ignore[call-overload] # refused
        (lambda: durable(version="")(_asynchronous), "version"),
        (lambda: durable(queue="")(_asynchronous), "queue"),
        (lambda: durable(priority=99_999)(_asynchronous), "priority"),
        (lambda: durable(on_divergence="guess")(_asynchronous), "on_divergence"),  # type: ignore[call-overload] # refused
        (lambda: durable(timeout=0)(_asynchronous), "timeout"),
        (lambda: step("charge-{order}")(_sync), "{order}"),
        (lambda: step("charge-{")(_sync), "braces"),
        (lambda: step(retry_on=(int,))(_sync), "exception classes"),  # type: ignore[arg-type] # refused
        (lambda: step(timeout_scope="local")(_sync), "timeout_scope"),  # type: ignore[call-overload] # refused
        (lambda: step(timeout=-1)(_sync), "timeout"),
    ],
)
def test_what_cannot_be_is_refused_at_decoration(decorate: Callable[[], object], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        decorate()


@pytest.mark.parametrize("retry", ["exponential(3)", "fixed(1, 2 parsecs)", "often"])
def test_a_bad_retry_text_shows_text_and_column(retry: str) -> None:
    with pytest.raises(InvalidText, match=r"at column \d+") as caught:
        step(retry=retry)(_sync)
    assert isinstance(caught.value, ValueError)
    assert repr(retry) in str(caught.value)


def test_methods_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="is a method"):

        class Shop:
            @step
            def charge(self) -> None: ...


def test_static_functions_of_a_class_are_fine() -> None:
    class Shop:
        @staticmethod
        @step
        def price(n: int) -> int:
            return n * 2

    async def main() -> int:
        return await Shop.price(2)

    assert asyncio.run(main()) == 4


def test_partial_functions_make_steps() -> None:
    def add(a: int, b: int) -> int:
        return a + b

    made = step("add-one")(functools.partial(add, 1))

    async def main() -> int:
        return await made(2)

    assert asyncio.run(main()) == 3


def test_a_retry_policy_is_taken_as_it_is() -> None:
    policy = RetryPolicy(retries=2, delay=1.0)
    assert step(retry=policy)(_sync).policy == policy
    assert step(retry_on=(OSError, KeyError))(_sync).retry_on == (OSError, KeyError)
