"""What type checkers make of spawn and of the waits for handles. Checked by mypy and pyright, never run."""

from typing import Any, assert_type

from zart_core import (
    Call,
    Context,
    StepHandle,
    as_completed,
    fan_out,
    sleep,
    spawn,
    wait_all,
    wait_any,
    wait_first,
)
from zart_decorators import durable, step


@step
async def text(order: int, times: int = 1) -> str:
    return str(order) * times


@step
def number(order: int) -> int:
    return order


@step
def raw(order: str) -> bytes:
    return order.encode()


async def handles() -> None:
    handle = spawn(text(1))
    assert_type(handle, StepHandle[str])
    assert_type(await handle, str)
    assert_type(handle.name, str)
    assert_type(handle.cancel(), Call[None])
    assert_type(spawn(text(1).keyed("k").with_timeout("3s")), StepHandle[str])


async def all_of_them() -> None:
    t, n, r = spawn(text(1)), spawn(number(1)), spawn(raw("1"))
    assert_type(await wait_all(), tuple[()])
    assert_type(await wait_all(t), tuple[str])
    assert_type(await wait_all(t, n), tuple[str, int])
    assert_type(await wait_all(t, n, r), tuple[str, int, bytes])
    assert_type(await wait_all(t, n, r, t), tuple[str, int, bytes, str])
    assert_type(await wait_all(t, n, r, t, n), tuple[str, int, bytes, str, int])
    assert_type(await wait_all(t, n, r, t, n, r), tuple[str, int, bytes, str, int, bytes])
    assert_type(await wait_all(t, t, t, t, t, t, t), tuple[str, ...])
    assert_type(await wait_all(*[n, n]), tuple[int, ...])


async def some_of_them() -> None:
    handles = [spawn(number(n)) for n in range(3)]
    assert_type(await wait_any(*handles), tuple[int, int])
    assert_type(wait_first(2, *handles), Call[list[tuple[int, int]]])
    assert_type(await wait_first(2, *handles), list[tuple[int, int]])
    async for index, value in as_completed(spawn(text(1)), text(2)):
        assert_type(index, int)
        assert_type(value, str)
    async for _, either in as_completed(spawn(text(1)), sleep("nap", 1)):
        assert_type(either, str | None)


async def fans() -> None:
    assert_type(await fan_out(text, [1, 2]), list[str])
    assert_type(await fan_out(number, range(3), key=str, concurrency=2), list[int])
    assert_type(await fan_out(raw, ["a"], tolerate=3), list[bytes | Exception])
    assert_type(await fan_out(lambda n: text(n, times=2), [1]), list[str])


@durable
async def styled(n: int) -> str:
    return (await wait_all(spawn(text(n))))[0]


async def context_style(ctx: Context, n: int) -> None:
    handle = ctx.spawn(text(n))
    assert_type(handle, StepHandle[str])
    assert_type(await ctx.wait_all(handle, ctx.spawn(number(n))), tuple[str, int])
    assert_type(await ctx.wait_any(handle), tuple[int, str])
    assert_type(await ctx.wait_first(1, handle), list[tuple[int, str]])
    assert_type(await ctx.fan_out(number, [n]), list[int])


async def misuse() -> Any:
    spawn(number)  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    spawn(sleep("nap", 1))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    wait_any(number(1))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    wait_first("2", spawn(number(1)))  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
    await fan_out(number, ["text"])  # type: ignore[arg-type] # pyright: ignore[reportArgumentType]
