"""Workflows whose steps write to a table in their own transaction: it counts effects, the ledger counts tries."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from contextlib import suppress
from typing import Any

import psycopg

from tests.support.workflows import GatewayDown, finish, take_effect
from zart_core import StepTimeout, context, transaction
from zart_decorators import durable, step

TABLE = "CREATE TABLE deposits (execution text, n integer, pid integer DEFAULT pg_backend_pid())"
INSERT = "INSERT INTO deposits (execution, n) VALUES (%s, %s)"

client: Any = None
"""That of the test, for steps that start executions."""

gate = threading.Event()
"""Lets `deposit_when_told` go on, in the test's own process."""


@step("deposit", retry="fixed(2, 50ms)")
async def deposit(n: int, seconds: float = 0) -> int:
    async with transaction() as conn:
        await conn.execute(INSERT, (context().execution_id, n))
        take_effect(n=n)
        await asyncio.sleep(seconds)
    return n


@step("deposit-in-thread")
def deposit_in_thread(n: int, seconds: float = 0) -> int:
    with transaction() as conn:
        conn.execute(INSERT, (context().execution_id, n))
        take_effect(n=n)
        time.sleep(seconds)
    return n


@durable("depositing")
async def depositing(steps: int, seconds: float = 0) -> list[int]:
    return [await finish(await deposit(n, seconds)) for n in range(steps)]


@durable("depositing-in-threads")
async def depositing_in_threads(steps: int, seconds: float = 0) -> list[int]:
    return [await finish(await deposit_in_thread(n, seconds)) for n in range(steps)]


@durable("depositing-at-once")
async def depositing_at_once(steps: int) -> list[int]:
    return list(await asyncio.gather(*(deposit(n) for n in range(steps))))


@durable("depositing-in-threads-at-once")
async def depositing_in_threads_at_once(steps: int) -> list[int]:
    return list(await asyncio.gather(*(deposit_in_thread(n) for n in range(steps))))


@step("deposit-and-freeze")
async def deposit_and_freeze() -> int:
    """Stand still in the open transaction, the first time."""
    async with transaction() as conn:
        await conn.execute(INSERT, (context().execution_id, 0))
        times = take_effect()
        if times == 1:
            os.kill(os.getpid(), signal.SIGSTOP)
    return times


@durable("freezing")
async def freezing() -> int:
    return await deposit_and_freeze()


@step("deposit-and-fail", retry="fixed(2, 20ms)")
async def deposit_and_fail(times: int) -> int:
    """Raise after the block that many times."""
    async with transaction() as conn:
        await conn.execute(INSERT, (context().execution_id, context().attempt))
    if take_effect() <= times:
        raise GatewayDown("try again")
    return context().attempt or 0


@durable("failing-deposits")
async def failing_deposits(times: int) -> int:
    return await deposit_and_fail(times)


@durable("late-deposit")
async def late_deposit(in_thread: bool) -> str:
    late = deposit_in_thread(0, 1.5) if in_thread else deposit(0, 60)
    try:
        await late.with_timeout(0.3)
    except StepTimeout:
        return "StepTimeout"
    return "in time"


@step("deposit-when-told")
async def deposit_when_told() -> None:
    async with transaction() as conn:
        await conn.execute(INSERT, (context().execution_id, 0))
        take_effect()
        while not gate.is_set():
            await asyncio.sleep(0.01)


@step("fail-at-once")
async def fail_at_once() -> None:
    raise GatewayDown("no")


@durable("given-up-deposit")
async def given_up_deposit() -> str:
    """Give the deposit up because its sibling has failed."""
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(deposit_when_told())
            group.create_task(fail_at_once())
    except* GatewayDown:
        pass
    await finish(1)
    return "given up"


@step("misuse")
async def misuse(how: str) -> Any:
    if how == "blocking":
        with transaction():
            pass
    async with transaction() as conn:
        await conn.execute(INSERT, (context().execution_id, 0))
        if how == "commit":
            await conn.commit()
        elif how == "rollback":
            await conn.rollback()
        elif how == "close":
            await conn.close()
        elif how == "sql commit":
            await conn.execute("COMMIT")
        elif how == "swallowed failure":
            try:
                await conn.execute("SELECT 1 / 0")
            except Exception:
                return "all is well"
        elif how == "second inside":
            async with transaction():
                pass
        elif how == "unfinished":
            asyncio.get_running_loop().create_task(_hold_on(conn))
            await asyncio.sleep(0.05)
    if how == "after the block":
        await conn.execute("SELECT 1")
    elif how == "second after":
        async with transaction():
            pass
    elif how == "unstorable":
        return object()
    return "stored"


async def _hold_on(conn: Any) -> None:
    with suppress(psycopg.OperationalError):
        await conn.execute("SELECT pg_sleep(30)")


@durable("misusing")
async def misusing(how: str) -> Any:
    return await misuse(how)


@step("lock-two")
async def lock_two(first: int, second: int) -> int:
    """Lock two rows, the second when the test says so."""
    async with transaction() as conn:
        await conn.execute("UPDATE locked SET n = n + 1 WHERE id = %s", (first,))
        take_effect()
        await asyncio.to_thread(gate.wait, 20)
        await conn.execute("UPDATE locked SET n = n + 1 WHERE id = %s", (second,))
    return first


@durable("locking")
async def locking(first: int, second: int) -> int:
    return await lock_two(first, second)


@step("defer", retry="fixed(1, 20ms)")
async def defer() -> None:
    """Break a constraint that is looked at when the transaction commits."""
    async with transaction() as conn:
        await conn.execute("INSERT INTO unique_later VALUES (1), (1)")
    take_effect()


@durable("deferring")
async def deferring() -> None:
    await defer()


@step("order-more")
async def order_more(fails: bool) -> str:
    """Start another execution in the step's own transaction."""
    async with transaction() as conn:
        handle = await client.start(depositing, 1, execution_id=f"{context().execution_id}-more", conn=conn)
    if fails:
        raise GatewayDown("no")
    return str(handle.execution_id)


@durable("ordering")
async def ordering(fails: bool) -> str:
    return await order_more(fails)
