"""L13: nothing depends on the loop that a worker runs on: another implementation, another way of starting tasks."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import pytest
from tests.engine.living import Body, live, replay
from tests.engine.test_shapes import SHAPES, failing, shapes
from tests.support import virtual_time
from tests.support.memory_host import MemoryHost

from zart_core import NestedStep, Step, Workflow

uvloop = pytest.importorskip("uvloop") if sys.platform != "win32" else None


class EagerLoop(virtual_time.VirtualLoop):
    """Begins each task at once, where it is made."""

    def __init__(self) -> None:
        super().__init__()
        self.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined] # since 3.12


@pytest.fixture
def eager_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(virtual_time, "VirtualLoop", EagerLoop)


since_312 = pytest.mark.skipif(
    sys.version_info < (3, 12), reason="there are no eager tasks before Python 3.12"
)


@since_312
@pytest.mark.usefixtures("eager_host")
@shapes
def test_a_host_that_begins_tasks_at_once_makes_no_difference(shape: Body) -> None:
    lived = live(shape)
    assert replay(lived).value == lived.value


@since_312
@pytest.mark.usefixtures("eager_host")
def test_a_host_that_begins_tasks_at_once_runs_the_same_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    eager = {shape.__name__: set(live(shape).records) for shape in SHAPES}
    monkeypatch.undo()
    assert eager == {shape.__name__: set(live(shape).records) for shape in SHAPES}


async def _ask() -> str:
    await asyncio.sleep(0)
    try:
        await failing()
    except NestedStep:
        return "refused"
    return "done"


ask: Step[[], str] = Step(_ask, "ask")


async def nested_step() -> Any:
    return [await ask(), await ask()]


@since_312
@pytest.mark.usefixtures("eager_host")
def test_a_step_that_is_begun_at_once_is_still_a_step() -> None:
    assert live(nested_step).value == ["refused", "refused"]


@pytest.mark.skipif(uvloop is None, reason="there is no uvloop for this system")
def test_all_shapes_run_and_replay_on_uvloop() -> None:
    async def run(shape: Body, store: Any = None) -> tuple[MemoryHost, Any]:
        host = MemoryHost(Workflow(shape, "test"), store=store)
        try:
            return host, await host.finish()
        finally:
            host.close()

    async def twice(shape: Body) -> str | None:
        host, ending = await run(shape)
        store = host.store.copy()
        store.ending = None
        again, replayed = await run(shape, store)
        assert ending[0] == "completed", shape.__name__
        assert replayed == ending, shape.__name__
        assert again.records.keys() == host.records.keys(), shape.__name__
        return type(host.loop).__module__

    async def all_at_once() -> set[str | None]:
        return set(await asyncio.gather(*map(twice, SHAPES)))

    assert uvloop is not None
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        assert runner.run(all_at_once()) == {"uvloop"}
