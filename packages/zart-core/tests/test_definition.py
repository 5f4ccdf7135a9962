"""Steps and workflows as they are defined: what is refused, and what is remembered."""

from __future__ import annotations

import asyncio
import functools
from datetime import timedelta
from typing import Any

import pytest

from zart_core import (
    ConfigurationError,
    DuplicateName,
    Invocation,
    RetryPolicy,
    Step,
    Workflow,
)
from zart_core.definition import Binder, check_same_step, default_name, describe, same_definition


async def charge_card(order: str, amount: int = 1, *, note: str = "") -> str:
    """Charge it."""
    return f"{order} {amount} {note}"


async def fulfil(order: str) -> str:
    return order


def test_a_name_is_made_of_the_functions() -> None:
    assert Step(charge_card).name == "charge-card"
    assert Workflow(fulfil).name == "fulfil"
    assert default_name(lambda: 1) == "<lambda>"


def test_a_step_looks_like_its_function() -> None:
    step: Step[..., str] = Step(charge_card, "charge", retry="fixed(2, 1s)", timeout=timedelta(seconds=5))
    made: Any = step
    assert (made.__name__ if hasattr(made, "__name__") else made.__qualname__, made.__doc__) == (
        "charge_card",
        "Charge it.",
    )
    assert (step.policy, step.timeout, step.is_async) == (RetryPolicy.fixed(2, 1), 5.0, True)
    assert repr(step) == "<Step 'charge'>"
    assert asyncio.run(_await(step("a", 2, note="n"))) == "a 2 n"


async def _await(awaitable: Any) -> Any:
    return await awaitable


class Service:
    async def method(self, order: str) -> str:
        return order


@pytest.mark.parametrize(
    "options",
    [
        {"name": ""},
        {"name": "x" * 256},
        {"name": "charge-{nothing}"},
        {"name": "charge-{order"},
        {"retry": "sometimes"},
        {"timeout": "0s"},
        {"timeout": -1},
        {"timeout_scope": "local"},
        {"retry_on": (int,)},
        {"no_retry_on": "ValueError"},
    ],
)
def test_a_bad_step_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Step(charge_card, **options)


def test_what_is_no_function_is_refused() -> None:
    not_a_function: Any = "charge"
    with pytest.raises(ConfigurationError, match="must be a function"):
        Step(not_a_function, "charge")
    with pytest.raises(ConfigurationError, match="`self` cannot be recorded"):
        Step(Service.method)
    assert Step(Service().method).name == "method"
    with pytest.raises(ConfigurationError, match="does not tell its parameters"):
        Step(dict, "dict")


def test_one_exception_class_may_be_given_as_it_is() -> None:
    one: Any = ValueError
    step: Step[..., str] = Step(charge_card, retry_on=one, no_retry_on=(KeyError, OSError))
    assert (step.retry_on, step.no_retry_on) == ((ValueError,), (KeyError, OSError))


@pytest.mark.parametrize(
    "options",
    [
        {"name": "a\nb"},
        {"version": ""},
        {"queue": ""},
        {"on_divergence": "ignore"},
        {"priority": 40_000},
        {"priority": 0.5},
        {"timeout": "never"},
    ],
)
def test_a_bad_workflow_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        Workflow(fulfil, **options)


def test_a_workflow_must_be_async() -> None:
    def blocking(order: str) -> str:
        return order

    not_async: Any = blocking
    with pytest.raises(
        ConfigurationError, match=r"write `async def` for .*blocking .*test_definition.py:\d+"
    ):
        Workflow(not_async)


def test_outside_a_run_a_workflow_just_runs() -> None:
    workflow: Workflow[..., str] = Workflow(fulfil, "fulfil", version="2")
    assert asyncio.run(_await(workflow("a"))) == "a"
    assert repr(workflow) == "<Workflow 'fulfil' version '2'>"


def test_a_call_of_a_workflow_is_its_arguments_not_yet_started() -> None:
    workflow: Workflow[..., str] = Workflow(fulfil)
    assert workflow.call(order="a") == Invocation(workflow, (), {"order": "a"})


def test_the_schemas_tell_parameters_and_result() -> None:
    workflow: Workflow[..., str] = Workflow(fulfil)
    assert workflow.input_schema()["type"] == workflow.result_schema()["type"] == "string"
    assert workflow.parameters is workflow.parameters
    assert workflow.result_codec() is workflow.result_codec()


def test_an_annotation_that_names_nothing_is_told_at_first_use() -> None:
    async def charge() -> "Missing":  # type: ignore[name-defined] # noqa: F821, UP037 - what is tested
        return None

    with pytest.raises(ConfigurationError, match="Missing"):
        Step(charge, "charge").result_codec()
    with pytest.raises(ConfigurationError, match="Missing"):
        Workflow(charge, "charge").result_codec()


def test_types_that_are_local_to_a_function_are_found_by_its_names() -> None:
    class Receipt:
        number: int

    async def charge() -> "Receipt":  # noqa: UP037 - what is tested
        return Receipt()

    with pytest.raises(ConfigurationError, match="cannot be stored"):
        Step(charge, "charge", localns={"Receipt": Receipt}).result_codec()
    with pytest.raises(ConfigurationError, match="not defined"):
        Step(charge, "charge").result_codec()


def test_arguments_are_bound_as_python_does() -> None:
    binder = Binder(charge_card)
    assert binder.names == ("order", "amount", "note")
    assert binder.defaults == {"amount": 1, "note": ""}
    assert binder.bind(("a",), {"note": "n"}) == {"order": "a", "note": "n"}
    plain = Binder(lambda one, two=2: (one, two))
    assert plain.bind((1,), {}) == {"one": 1}
    assert plain.bind((1, 3), {}) == {"one": 1, "two": 3}
    assert plain.bind((), {"one": 1}) == {"one": 1}
    for args, kwargs in [((), {}), ((1, 2, 3), {}), ((1,), {"one": 1}), ((1,), {"three": 1})]:
        with pytest.raises(TypeError):
            plain.bind(args, kwargs)
    many = Binder(lambda *items, **options: (items, options))
    assert many.bind((1, 2), {"a": 3}) == {"items": (1, 2), "options": {"a": 3}}


def test_two_copies_of_one_step_are_one_and_two_steps_of_one_name_are_not() -> None:
    one: Step[..., str] = Step(charge_card, "charge")
    copy: Step[..., str] = Step(charge_card, "charge", retry="fixed(1, 1s)")
    other: Step[..., str] = Step(fulfil, "charge")
    assert same_definition(one, one)
    assert same_definition(one, copy)
    check_same_step(one, copy)
    with pytest.raises(DuplicateName, match="two steps are named 'charge'"):
        check_same_step(one, other)


def test_a_function_is_described_by_where_it_was_written() -> None:
    assert describe(charge_card).startswith(f"{__name__}.charge_card ({__file__}:")
    assert "partial" in describe(functools.partial(charge_card, "a"))
