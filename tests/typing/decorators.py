"""What type checkers make of @durable and @step. Checked by mypy and pyright, never run."""

import asyncio
from datetime import timedelta
from typing import Any, assert_type

from zart_core import Call, DetachedChild, Invocation, RetryPolicy, StepCall
from zart_decorators import Step, Workflow, detached, durable, step


@step
async def bare(order: int) -> str:
    return str(order)


@step()
async def empty(order: int) -> str:
    return str(order)


@step("named", retry="exponential(3, 2s)", timeout="30s", no_retry_on=(ValueError,))
async def named(order: int, times: int = 1) -> str:
    return str(order) * times


@step(
    "sync", retry=RetryPolicy(retries=2, delay=1.0), timeout=timedelta(seconds=3), timeout_scope="per_attempt"
)
def sync(order: int) -> bytes:
    return bytes(order)


@step
def bare_sync(order: int) -> list[int]:
    return [order]


@step
def nothing() -> None: ...


@durable
async def plain(order: int) -> str:
    return await bare(order)


@durable("named", version="2", timeout="30m", queue="slow", priority=3, on_divergence="block")
async def with_options(order: int, note: str = "") -> dict[str, int]:
    return {note: order}


@durable()
async def no_arguments() -> None: ...


async def body() -> None:
    assert_type(bare(1), StepCall[str])
    assert_type(await bare(1), str)
    assert_type(await empty(1), str)
    assert_type(await named(1, times=2), str)
    assert_type(await sync(1), bytes)
    assert_type(await bare_sync(1), list[int])
    assert_type(await nothing(), None)
    assert_type(await named(1).keyed("k").named("n").with_retry("fixed(1, 1s)").with_timeout("5s"), str)
    assert_type(await asyncio.gather(bare(1), sync(2), plain(3)), tuple[str, bytes, str])
    async with asyncio.TaskGroup() as group:
        assert_type(group.create_task(sync(1)), asyncio.Task[bytes])
    assert_type(await asyncio.wait_for(bare(1), 1), str)


async def workflows() -> None:
    plain_step: Step[[int], str] = bare
    plain_workflow: Workflow[[int], str] = plain
    assert_type(await plain_step(1), str)
    assert_type(await plain_workflow(1), str)
    assert_type(plain(1), Call[str])
    assert_type(await plain(1), str)
    assert_type(await asyncio.gather(plain(1), with_options(2)), tuple[str, dict[str, int]])
    assert_type(await detached(plain.call(1)), DetachedChild)
    assert_type(await with_options(1, note="n"), dict[str, int])
    assert_type(await no_arguments(), None)
    assert_type(plain.call(1), Invocation[str])
    assert_type(with_options.call(1, note="n"), Invocation[dict[str, int]])
    assert_type(plain.name, str)
    assert_type(plain.input_schema(), dict[str, Any])


def refused() -> None:
    bare("no")  # type: ignore[arg-type] # an int is wanted
    bare()  # type: ignore[call-arg] # an argument is missing
    plain.call("no")  # type: ignore[arg-type] # an int is wanted
    with_options.call(1, remark="n")  # type: ignore[call-arg] # no such parameter
    step("a", timeout_scope="local")  # type: ignore[call-overload] # no such scope
    durable("a", on_divergence="guess")  # type: ignore[call-overload] # no such choice

    @durable  # type: ignore[arg-type] # a workflow is async
    def not_async(order: int) -> str:
        return str(order)
