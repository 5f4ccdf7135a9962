"""Workers on every Python and on other loops, against a real database."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.pythons import flows
from tests.pythons.interpreters import OTHERS, PAIRS, ROOT, THIS, environment, interpreter, run
from tests.support.cluster import until

from zart_core import RunState
from zart_scheduler import Client

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.timeout(600)]


@contextmanager
def worker(version: str, url: str, directory: Path) -> Iterator[None]:
    """A worker on that Python, which gets SIGKILL in the end."""
    command = [
        str(interpreter(version)),
        "-m",
        "zart_cli",
        "worker",
        "tests/pythons/flows.py",
        "--lease",
        "1s",
    ]
    with (directory / f"{version}.log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(ZART_DATABASE_URL=url), stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@pytest.mark.parametrize(("one", "other"), [pair for pair in PAIRS if THIS in pair.values])
async def test_a_run_that_waits_is_continued_by_a_worker_on_another_python(
    one: str, other: str, database_url: str, tmp_path: Path
) -> None:
    async with Client(database_url) as client:
        handle = await client.start(flows.crossing)

        async def is_waiting() -> bool:
            return await handle.status() is RunState.WAITING

        with worker(one, database_url, tmp_path):
            await until(is_waiting, what="the run to wait")
        await handle.send_event("go")
        with worker(other, database_url, tmp_path):
            assert await handle.result("30s") == flows.expected(one, other)


@pytest.mark.parametrize("version", OTHERS)
def test_a_worker_can_be_embedded_where_tasks_begin_at_once(version: str, database_url: str) -> None:
    said = run(version, "-m", "tests.pythons.flows", "eager", database_url)
    assert said.splitlines()[-1] == str(flows.expected(version, version))


@pytest.mark.skipif(sys.platform == "win32", reason="there is no uvloop for Windows")
def test_a_worker_can_be_embedded_on_uvloop(database_url: str) -> None:
    said = run(THIS, "-m", "tests.pythons.flows", "uvloop", database_url)
    assert said.splitlines()[-1] == str(flows.expected(THIS, THIS))
