"""L13: the loop of a body runs what is ready, in order, and knows exactly when it waits for something durable only."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import threading
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any

import pytest

from zart_core import UsageError, WrongTask
from zart_core.bodyloop import PUMP_LIMIT, BodyLoop
from zart_core.call import Call
from zart_core.identity import Scope
from zart_core.operations import SleepOperation

pytestmark = pytest.mark.anyio


class Body:
    """As much of a run as its calls need."""

    def __init__(self, loop: BodyLoop) -> None:
        self.loop, self.reserved = loop, 0
        self.open_calls: dict[int, Call[Any]] = {}

    def current_scope(self) -> Scope:
        return self.loop.current_scope()

    async def perform(self, call: Call[Any]) -> str:
        await asyncio.sleep(0)
        return call.identity


class Living:
    """A body on its loop, pumped whenever something wakes it."""

    def __init__(self, main: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        self.woken = asyncio.Event()
        self.loop = BodyLoop(asyncio.get_running_loop(), self.woken.set)  # type: ignore[abstract] # the rest is refused by name
        self.loop.body = Body(self.loop)
        self.task = self.loop.start(main(), Scope(), contextvars.copy_context())

    async def result(self) -> Any:
        while not self.task.done():
            while not self.loop.pump():
                await asyncio.sleep(0)
            if not self.task.done():
                await asyncio.wait_for(self.woken.wait(), 20)
                self.woken.clear()
        return self.task.result()


def scope() -> str:
    loop: Any = asyncio.get_running_loop()
    return str(loop.current_scope().path)


def call() -> Call[Any]:
    loop: Any = asyncio.get_running_loop()
    return Call(loop.body, "call", SleepOperation("call", 1, None))


async def where() -> str:
    return scope()


# -- running


async def test_callbacks_run_in_order_and_only_when_pumped() -> None:
    order: list[int] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for number in range(3):
            loop.call_soon(order.append, number)
        loop.call_soon(order.append, 9).cancel()
        await asyncio.sleep(0)

    living = Living(main)
    assert order == []
    assert not living.loop.is_quiescent
    assert living.loop.pump()
    assert order == [0, 1, 2]
    assert living.loop.is_quiescent


async def test_a_pump_is_bounded() -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    living = Living(spin)
    assert not living.loop.pump()
    living.task.cancel()
    assert living.loop.pump()
    assert PUMP_LIMIT < 1000


async def test_the_hosts_loop_is_in_its_place_again_after_a_pump() -> None:
    host, hooks = asyncio.get_running_loop(), sys.get_asyncgen_hooks()

    async def main() -> asyncio.AbstractEventLoop:
        return asyncio.get_running_loop()

    living = Living(main)
    assert await living.result() is living.loop
    assert asyncio.get_running_loop() is host
    assert sys.get_asyncgen_hooks() == hooks


async def test_a_pump_inside_a_pump_does_nothing() -> None:
    async def main() -> bool:
        loop: Any = asyncio.get_running_loop()
        return bool(loop.pump())

    assert await Living(main).result() is False


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(1), KeyboardInterrupt()])
async def test_what_a_task_raises_stays_in_it(error: BaseException) -> None:
    async def main() -> None:
        raise error

    living = Living(main)
    assert living.loop.pump()
    assert living.task.exception() is error


async def test_timers_are_the_hosts_and_keep_it_from_being_quiescent() -> None:
    async def main() -> list[str]:
        loop, log = asyncio.get_running_loop(), list[str]()
        loop.call_later(0.02, log.append, "later")
        loop.call_at(loop.time() + 0.01, log.append, "at")
        handle = loop.call_later(60, log.append, "never")
        assert handle.when() > loop.time() + 50
        assert not handle.cancelled()
        handle.cancel()
        assert handle.cancelled()
        await asyncio.sleep(0.03)
        return log

    living = Living(main)
    living.loop.pump()
    assert len(living.loop.timers) == 3
    assert not living.loop.is_quiescent
    assert await living.result() == ["at", "later"]
    assert living.loop.is_quiescent


async def test_threads_keep_it_from_being_quiescent_until_they_return() -> None:
    go = threading.Event()

    async def main() -> list[Any]:
        def fail() -> None:
            raise ValueError("x")

        found: list[Any] = [await asyncio.to_thread(go.wait, 10)]
        for bad in (fail, lambda: next(iter(()))):
            try:
                await asyncio.to_thread(bad)
            except (ValueError, RuntimeError) as error:
                found.append(type(error).__name__)
        return found

    living = Living(main)
    living.loop.pump()
    assert not living.loop.is_quiescent
    go.set()
    assert await living.result() == [True, "ValueError", "RuntimeError"]
    assert living.loop.is_quiescent


async def test_what_a_thread_asks_for_arrives() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        await asyncio.to_thread(loop.call_soon_threadsafe, future.set_result, "arrived")
        return str(await future)

    assert await Living(main).result() == "arrived"


async def test_a_cancelled_wait_for_a_thread_is_over_at_once() -> None:
    go = threading.Event()

    async def main() -> str:
        try:
            await asyncio.wait_for(asyncio.to_thread(go.wait, 10), 0.01)
        except TimeoutError:
            return "late"
        return ""

    living = Living(main)
    assert await living.result() == "late"
    assert not living.loop.is_quiescent
    go.set()
    while living.loop.threads:
        await asyncio.sleep(0.001)
    assert living.loop.pump()


# -- scopes


async def test_l5_a_task_has_a_scope_of_its_own_and_a_task_of_a_call_its_makers() -> None:
    async def main() -> list[Any]:
        async def outer() -> list[Any]:
            return [scope(), await asyncio.create_task(where()), await call()]

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(outer()), group.create_task(call()), group.create_task(outer())]
        return [scope(), *(task.result() for task in tasks), *await asyncio.gather(where(), call(), where())]

    assert await Living(main).result() == [
        "",
        [".0", ".0.0", ".0:call#0"],
        ":call#0",
        [".1", ".1.0", ".1:call#0"],
        ".2",
        ":call#1",
        ".3",
    ]


@pytest.mark.parametrize("timeout", [60, None])
async def test_l5_wait_for_is_no_branch_on_any_python(timeout: float | None) -> None:
    async def main() -> list[Any]:
        async def two() -> list[str]:
            return list(await asyncio.gather(where(), where()))

        return [
            await asyncio.wait_for(where(), timeout),
            await asyncio.wait_for(call(), timeout),
            await asyncio.wait_for(two(), timeout),
            await asyncio.create_task(where()),
        ]

    assert await Living(main).result() == ["", ":call#0", [".0", ".1"], ".2"]


async def test_l5_wait_for_that_has_no_time_left_is_no_branch_on_any_python() -> None:
    async def main() -> str:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(where(), 0)
        return await asyncio.create_task(where())

    assert await Living(main).result() == ".0"


async def test_l5_as_completed_over_coroutines_is_refused_and_over_calls_is_not() -> None:
    async def main() -> list[Any]:
        coroutines = [where(), where()]
        with pytest.raises(UsageError, match="in no fixed order"):
            for done in asyncio.as_completed(coroutines):
                await done
        for coroutine in coroutines:
            coroutine.close()
        return [await done for done in asyncio.as_completed([call(), call()])]

    assert sorted(await Living(main).result()) == [":call#0", ":call#1"]


async def test_a_task_made_in_a_callback_is_refused() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def make() -> None:
            try:
                loop.create_task(where())
            except WrongTask as error:
                future.set_result(str(error))

        loop.call_soon(make)
        return str(await future)

    assert "create tasks in the body itself" in await Living(main).result()


eager = pytest.param(
    {"eager_start": True},
    marks=pytest.mark.skipif(sys.version_info < (3, 12), reason="no eager tasks before Python 3.12"),
)


@pytest.mark.parametrize("options", [{}, eager])
async def test_a_task_made_past_the_loop_has_no_scope(options: dict[str, Any]) -> None:
    async def main() -> str:
        try:
            return await asyncio.Task(where(), loop=asyncio.get_running_loop(), **options)
        except WrongTask as error:
            return str(error)

    assert "use asyncio.create_task" in await Living(main).result()


async def test_a_task_factory_is_refused() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(None)
        with pytest.raises(UsageError, match="it takes no task factory"):
            loop.set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))

    await Living(main).result()


async def test_tasks_that_are_done_are_forgotten_in_time() -> None:
    async def main() -> None:
        for _ in range(500):
            await asyncio.create_task(where())

    living = Living(main)
    await living.result()
    assert len(living.loop.branches) < 200
    assert living.loop.live_tasks() == []


# -- async generators


async def numbers(log: list[str]) -> AsyncIterator[int]:
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(0)
        log.append(scope())


async def test_a_generator_that_is_left_is_closed_on_the_bodys_loop_in_a_scope_of_its_own() -> None:
    log: list[str] = []

    async def main() -> list[str]:
        for _ in range(2):
            async for _ in numbers(log):
                break
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return [await asyncio.create_task(where())]

    assert await Living(main).result() == [".2"]
    assert log == [".0", ".1"]


async def test_a_generator_that_the_collector_finds_is_closed_under_the_number_it_was_given_at_its_start() -> (
    None
):
    log: list[str] = []

    async def main() -> str:
        cycle: list[Any] = []
        generator = numbers(log)
        cycle += [generator, cycle]
        async for _ in generator:
            break
        return await asyncio.create_task(where())

    gc.disable()
    try:
        living = Living(main)
        assert await living.result() == ".1"
        assert log == []
    finally:
        gc.enable()
    gc.collect()
    await asyncio.wait_for(living.woken.wait(), 20)
    living.loop.pump()
    assert log == [".0"]


async def test_a_generator_that_is_used_up_needs_no_closing() -> None:
    log: list[str] = []

    async def main() -> list[int]:
        return [number async for number in numbers(log)]

    assert await Living(main).result() == [1, 2]
    assert log == [""]


# -- what it does not do

REFUSED = [
    "add_reader",
    "add_signal_handler",
    "connect_read_pipe",
    "create_connection",
    "create_datagram_endpoint",
    "create_server",
    "create_unix_connection",
    "getaddrinfo",
    "sendfile",
    "sock_connect",
    "sock_recv",
    "start_tls",
    "subprocess_exec",
    "subprocess_shell",
]


@pytest.mark.parametrize("name", REFUSED)
async def test_io_is_refused_with_a_text_that_says_where_it_belongs(name: str) -> None:
    async def main() -> None:
        getattr(asyncio.get_running_loop(), name)("anything", port=1)

    with pytest.raises(UsageError, match=rf"did I/O \({name}\).*do I/O in a step"):
        await Living(main).result()


async def test_it_answers_what_asyncio_asks() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.set_debug(True)
        assert not loop.get_debug()
        assert loop.is_running()
        assert not loop.is_closed()
        assert loop.get_task_factory() is None
        await loop.shutdown_asyncgens()

    await Living(main).result()


async def test_what_nobody_will_hear_of_is_logged_unless_the_body_is_ended_by_force(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(lambda: 1 / 0)
        await asyncio.sleep(0)

    await Living(main).result()
    assert "ZeroDivisionError" in caplog.text
    caplog.clear()
    living = Living(main)
    living.loop.is_unwinding = True
    await living.result()
    assert caplog.text == ""


async def test_code_can_be_run_as_if_a_task_ran_it() -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="host")

    async def main() -> None:
        variable.set("body")
        await asyncio.Event().wait()

    living = Living(main)
    living.loop.pump()
    seen: list[Any] = []
    living.loop.run_inside(
        living.task, lambda: seen.extend([asyncio.current_task(), scope(), variable.get()])
    )
    assert seen == [living.task, "", "body"]
    assert variable.get() == "host"
    living.task.cancel()
    living.loop.pump()
