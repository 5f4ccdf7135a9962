"""What type checkers make of a test's environment. Checked by mypy and pyright, never run."""

from datetime import UTC, datetime, timedelta
from typing import Any, assert_type

from zart_core import EventReceipt, ExecutionDetails, Page, RunState, RunSummary
from zart_core.testing import Handle, TestRun
from zart_decorators import durable


@durable
async def none() -> int:
    return 0


@durable
async def one(a: int) -> str:
    return str(a)


@durable
async def two(a: int, b: str = "") -> bytes:
    return b.encode() * a


@durable
async def three(a: int, b: str, c: bytes) -> None: ...


@durable
async def four(a: int, b: str, c: bytes, d: float) -> list[int]:
    return [a]


@durable
async def five(a: int, b: str, c: bytes, d: float, e: None) -> dict[str, int]:
    return {b: a}


@durable
async def keyword_only(*, a: int) -> float:
    return float(a)


async def starts(env: TestRun) -> None:
    assert_type(await env.start(none), Handle[int])
    assert_type(await env.start(one, 1), Handle[str])
    assert_type(await env.start(two, 1), Handle[bytes])
    assert_type(await env.start(two, 1, "b"), Handle[bytes])
    assert_type(await env.start(three, 1, "b", b"c"), Handle[None])
    assert_type(await env.start(four, 1, "b", b"c", 1.0), Handle[list[int]])
    assert_type(await env.start(five, 1, "b", b"c", 1.0, None), Handle[dict[str, int]])
    assert_type(await env.start(keyword_only.call(a=1)), Handle[float])
    assert_type(await env.start(two.call(1, b="b"), execution_id="x"), Handle[bytes])
    assert_type(await env.start("by-name", 1, "b", queue="q"), Handle[Any])
    assert_type(
        await env.start(
            one, 1, delay="5m", at=datetime.now(UTC), priority=1, tags={"a": "b"}, on_conflict="reject"
        ),
        Handle[str],
    )
    await env.start(one, "1")  # type: ignore[arg-type] # an int is wanted
    await env.start(one, 1, sooner=True)  # type: ignore[call-overload] # no such option


async def reads(env: TestRun) -> None:
    handle = env.handle("x", one)
    assert_type(handle, Handle[str])
    assert_type(env.handle("x"), Handle[Any])
    assert_type(handle.existing, bool | None)
    assert_type(await handle.result(), str)
    assert_type(await handle.result("90s"), str)
    assert_type(await handle.status(), RunState)
    assert_type(await handle.describe(), ExecutionDetails)
    assert_type(await handle.runs(), list[RunSummary])
    assert_type(await handle.cancel("enough"), RunState)
    assert_type(await handle.send_event("a", 1, idempotency_key="k"), EventReceipt)
    assert_type(await env.send_event("x", "a"), EventReceipt)
    assert_type(await env.list_runs(state="running", limit=1), Page[RunSummary])


async def time(env: TestRun) -> None:
    async with TestRun(one, two, "module", start=datetime.now(UTC), evict=False) as entered:
        assert_type(entered, TestRun)
    assert_type(env.now(), datetime)
    assert_type(env.effects, list[str])
    await env.advance("3d")
    await env.advance(timedelta(days=3))
    env.crash_at("after-commit:charge")
