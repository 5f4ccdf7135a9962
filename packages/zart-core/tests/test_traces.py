"""Tracebacks: the users' own frames, bounded."""

from __future__ import annotations

import asyncio
from typing import Any

from zart_core.errors import StepTimeout
from zart_core.faults import failure, record


def raised(action: Any) -> BaseException:
    try:
        action()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_a_traceback_begins_at_the_users_frames() -> None:
    async def main() -> None:
        await asyncio.gather(fail())

    async def fail() -> None:
        raise ValueError("deep")

    trace = failure(record(raised(lambda: asyncio.run(main())))).traceback
    assert trace.splitlines()[1].endswith("in raised")

    namespace: dict[str, Any] = {"__name__": "zart_core.somewhere"}
    exec("def call(fn):\n    fn()\n", namespace)
    through = raised(lambda: namespace["call"](lambda: int("x")))
    assert through.__traceback__ is not None
    through.__traceback__ = through.__traceback__.tb_next.tb_next  # type: ignore[union-attr] # begins in the engine
    assert "in <lambda>" in failure(record(through)).traceback.splitlines()[1]


def test_a_defect_of_the_engine_keeps_its_frames_and_an_engines_error_drops_them() -> None:
    namespace: dict[str, Any] = {"__name__": "zart_core.somewhere"}
    exec("def call(error):\n    raise error\n", namespace)

    def inside(error: Exception) -> BaseException:
        found = raised(lambda: namespace["call"](error))
        assert found.__traceback__ is not None
        found.__traceback__ = found.__traceback__.tb_next.tb_next  # type: ignore[union-attr] # only the engine's
        return found

    assert "in call" in failure(record(inside(ValueError("x")))).traceback
    assert failure(record(inside(StepTimeout("s", 1)))).traceback.startswith(
        "zart_core.errors.StepTimeout: step 's'"
    )


def test_a_long_traceback_is_cut_in_the_middle() -> None:
    trace = failure(record(ValueError("a" * 50_000 + "b" * 50_000))).traceback
    assert len(trace) <= 64 * 1024
    assert "... cut ..." in trace
    assert trace.startswith("ValueError: aaa")
    assert trace.endswith("bbb\n")


def test_a_traceback_that_cannot_be_written_is_left_out() -> None:
    class Odd(Exception):
        @property
        def __cause__(self) -> Any:  # type: ignore[override] # odd on purpose
            raise RuntimeError("boom")

    told = failure(record(Odd("x")))
    assert told.message == "x"
    assert told.traceback == ""
