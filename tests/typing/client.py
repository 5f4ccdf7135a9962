"""What type checkers make of clients and handles. Checked by mypy and pyright, never run."""

from datetime import UTC, datetime
from typing import Any, assert_type

from psycopg import AsyncConnection, Connection
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

from zart_core import EventReceipt, ExecutionDetails, Page, RunState, RunSummary
from zart_decorators import durable
from zart_scheduler import Client, Handle, SyncClient, SyncHandle, call


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


async def starts(
    client: Client,
    conn: AsyncConnection[Any],
    sync_conn: Connection[Any],
    session: Session,
    async_session: AsyncSession,
) -> None:
    assert_type(await client.start(none), Handle[int])
    assert_type(await client.start(one, 1), Handle[str])
    assert_type(await client.start(two, 1), Handle[bytes])
    assert_type(await client.start(two, 1, "b"), Handle[bytes])
    assert_type(await client.start(three, 1, "b", b"c"), Handle[None])
    assert_type(await client.start(four, 1, "b", b"c", 1.0), Handle[list[int]])
    assert_type(await client.start(five, 1, "b", b"c", 1.0, None), Handle[dict[str, int]])
    assert_type(await client.start(keyword_only.call(a=1)), Handle[float])
    assert_type(await client.start(two.call(1, b="b"), execution_id="x"), Handle[bytes])
    assert_type(await client.start("by-name", 1, "b", queue="q"), Handle[Any])
    assert_type(await client.start(call("by-name", 1, b="b"), conn=sync_conn), Handle[Any])
    assert_type(await client.start(one, 1, conn=session), Handle[str])
    assert_type(await client.start(one, 1, conn=async_session), Handle[str])
    assert_type(
        await client.start(
            one,
            1,
            execution_id="x",
            at=datetime.now(UTC),
            delay=None,
            queue="q",
            priority=1,
            tags={"a": "b"},
            on_conflict="reject",
            conn=conn,
        ),
        Handle[str],
    )
    assert_type(await client.start_input("by-name", {"a": 1}, allow_unknown=True, delay="5m"), Handle[Any])


async def handles(client: Client) -> None:
    handle = client.handle("x", one)
    assert_type(handle, Handle[str])
    assert_type(client.handle("x"), Handle[Any])
    assert_type(await handle.result(timeout="5s"), str)
    assert_type(await handle.status(), RunState)
    assert_type(await handle.describe(), ExecutionDetails)
    assert_type(await handle.runs(), list[RunSummary])
    assert_type(await handle.send_event("e", {"a": 1}, idempotency_key="k"), EventReceipt)
    assert_type(await handle.cancel("why"), RunState)
    assert_type(handle.existing, bool | None)
    assert_type(await client.send_event("x", "e"), EventReceipt)
    assert_type(await client.list_runs(state="running", tags={"a": "b"}, limit=5), Page[RunSummary])


def blocking(client: SyncClient, conn: Connection[Any]) -> None:
    assert_type(client.start(none), SyncHandle[int])
    assert_type(client.start(one, 1, conn=conn), SyncHandle[str])
    assert_type(client.start(two, 1, "b"), SyncHandle[bytes])
    assert_type(client.start(three, 1, "b", b"c"), SyncHandle[None])
    assert_type(client.start(four, 1, "b", b"c", 1.0), SyncHandle[list[int]])
    assert_type(client.start(five, 1, "b", b"c", 1.0, None), SyncHandle[dict[str, int]])
    assert_type(client.start(keyword_only.call(a=1)), SyncHandle[float])
    assert_type(client.start("by-name", 1), SyncHandle[Any])
    assert_type(client.handle("x", one).result(), str)
    assert_type(client.handle("x"), SyncHandle[Any])
    assert_type(client.list_runs(limit=1), Page[RunSummary])
    assert_type(client.handle("x", one).restart(one.call(1)), SyncHandle[str])
    assert_type(client.handle("x", one).rerun(steps="a*", keep=["b"]), SyncHandle[str])
    assert_type(client.handle("x", one).fork(from_step="a"), SyncHandle[str])
    assert_type(client.handle("x").retry_step("a"), SyncHandle[Any])


async def again(client: Client) -> None:
    handle = client.handle("x", one)
    assert_type(await handle.restart(one.call(1)), Handle[str])
    assert_type(await handle.rerun(steps=["a*"], keep="b"), Handle[str])
    assert_type(await handle.fork(from_step="a", execution_id="y", input=2), Handle[str])
    assert_type(await handle.retry_step(), Handle[str])
    await client.start(one, 1, on_conflict="restart")


async def refused(client: Client, conn: AsyncConnection[Any]) -> None:
    await client.start(one, "no")  # type: ignore[arg-type] # an int is wanted
    await client.start(one)  # type: ignore[arg-type] # an argument is missing
    await client.start(one, 1, on_conflict="replace")  # type: ignore[call-overload] # no such way
    await client.handle("x", one).restart(two.call(1, "b"))  # type: ignore[arg-type] # another workflow's
    await client.start(one, 1, colour="red")  # type: ignore[call-overload] # no such option
    SyncClient().start(one, 1, conn=conn)  # type: ignore[call-overload] # it needs a blocking connection
