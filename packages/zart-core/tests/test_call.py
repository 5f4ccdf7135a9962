"""L5: a call reserves its identity when it is made, and is awaited once."""

from __future__ import annotations

import asyncio
import gc
import inspect
from collections.abc import Coroutine
from typing import Any

import pytest

from zart_core import CallReused, ConfigurationError, DuplicateKey, Step
from zart_core.call import Call, StepCall
from zart_core.identity import Scope
from zart_core.operations import StepOperation


async def _add(one: int, two: int = 2) -> int:
    return one + two


add: Step[..., int] = Step(_add, "add")


class Body:
    """As much of a run as calls need; it is not on a loop, so nothing can be awaited here."""

    def __init__(self) -> None:
        self.scope, self.reserved = Scope(), 0
        self.open_calls: dict[int, Call[Any]] = {}

    def current_scope(self) -> Scope:
        return self.scope

    async def perform(self, call: Call[Any]) -> Any:
        raise NotImplementedError


def make(body: Body, name: str = "add") -> StepCall[Any]:
    call = add(1)
    call.close()
    return StepCall(body, name, call.operation)


def test_identity_and_place_are_reserved_in_the_order_of_making() -> None:
    body = Body()
    calls = [make(body), make(body, "other"), make(body)]
    assert [call.identity for call in calls] == [":add#0", ":other#0", ":add#1"]
    assert [call.sequence for call in calls] == [1, 2, 3]
    assert list(body.open_calls.values()) == calls


def test_a_key_or_a_name_gives_the_occurrence_back() -> None:
    body = Body()
    assert make(body).keyed("k").identity == ":add#=k"
    assert make(body).named("other").identity == ":other#0"
    assert make(body).named("other").keyed("k").named("third").identity == ":third#=k"
    assert make(body).identity == ":add#0"
    assert make(body, "other").keyed("k").identity == ":other#=k"  # given back when the name changed


def test_a_refused_change_closes_the_call_so_that_it_is_not_forgotten() -> None:
    body = Body()
    make(body).keyed("k")
    twin = make(body)
    with pytest.raises(DuplicateKey):
        twin.keyed("k")
    assert [call.identity for call in body.open_calls.values()] == [":add#=k"]
    with pytest.raises(CallReused):
        twin.named("again")


def test_policy_and_timeout_may_be_changed_for_one_call() -> None:
    call = add(1).with_retry("fixed(2, 1s)").with_timeout("5s", scope="per_attempt")
    operation: Any = call.operation
    assert isinstance(operation, StepOperation)
    assert (operation.policy.retries, operation.timeout, operation.timeout_scope) == (2, 5.0, "per_attempt")
    again: Any = call.with_timeout(None).operation
    assert (again.timeout, again.timeout_scope) == (None, "per_attempt")
    assert add.policy.retries == 0
    call.close()


@pytest.mark.parametrize("bad", [{"timeout": "0s"}, {"timeout": "soon"}, {"timeout": 5, "scope": "local"}])
def test_a_bad_timeout_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        add(1).with_timeout(bad["timeout"], scope=bad.get("scope"))


def test_where_it_was_made_is_known() -> None:
    call = add(1)
    assert call.where.startswith(f"{__file__}:")
    assert call.where.endswith(" in test_where_it_was_made_is_known")
    call.close()


def test_it_is_a_coroutine_to_asyncio_and_says_who_it_is() -> None:
    call = make(Body())
    assert isinstance(call, Coroutine)
    assert asyncio.iscoroutine(call)
    assert inspect.isawaitable(call)
    assert repr(call) == "<StepCall :add#0>"
    outside = add(1)
    assert repr(outside) == "<StepCall add>"
    outside.close()


def test_outside_a_run_it_just_runs() -> None:
    async def main() -> list[int]:
        async with asyncio.TaskGroup() as group:
            task = group.create_task(add(1))
        return [await add(1), await add(1, two=5), task.result(), *await asyncio.gather(add(2), add(3))]

    assert asyncio.run(main()) == [3, 6, 3, 4, 5]


def test_it_can_be_awaited_once() -> None:
    async def main() -> None:
        call = add(1)
        assert await call == 3
        with pytest.raises(CallReused, match="'add' was already awaited"):
            await call
        with pytest.raises(CallReused):
            call.keyed("late")

    asyncio.run(main())


def test_one_that_is_closed_or_thrown_into_before_it_begins_never_begins() -> None:
    body = Body()
    closed, thrown = make(body), make(body)
    closed.close()
    with pytest.raises(ValueError, match="stop"):
        thrown.throw(ValueError("stop"))
    with pytest.raises(KeyError):
        make(body).throw(KeyError, KeyError("x"))
    assert body.open_calls == {}
    with pytest.raises(CallReused):
        closed.send(None)


def test_a_forgotten_one_outside_a_run_warns_with_its_source_line() -> None:
    with pytest.warns(RuntimeWarning, match=r"call 'add' was never awaited \(.*test_call.py:\d+ in "):
        add(1)
        gc.collect()


def test_one_whose_making_failed_says_nothing() -> None:
    class Refusing(Body):
        def current_scope(self) -> Scope:
            raise LookupError

    with pytest.raises(LookupError):
        make(Refusing())
    gc.collect()
