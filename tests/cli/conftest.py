"""The command in this process, and a worker that runs the tests' workflows."""

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from tests.cli import flows
from tests.support import database
from zart_cli.app import app
from zart_scheduler import Client, Worker, WorkerConfig

Zart = Callable[..., Result]


@pytest.fixture(autouse=True)
def logging_as_before() -> Iterator[None]:
    """Undo what a command that serves does to the logging of its process."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    logging.captureWarnings(capture=False)


@pytest.fixture(scope="module")
def served(server_url: str, template: str) -> Iterator[str]:
    """The URL of a database whose workflows a worker runs."""
    with database._database(server_url, template) as url, _working(url):
        yield url


@pytest.fixture
def zart(served: str, monkeypatch: pytest.MonkeyPatch) -> Zart:
    """Run the command against the served database; the words may be followed by input=."""
    monkeypatch.setenv("ZART_DATABASE_URL", served)
    return run_zart


def run_zart(*words: str, input: str | None = None) -> Result:
    """Run the command in this process."""
    return CliRunner().invoke(app, words, input=input)


def data(result: Result) -> Any:
    """Return the JSON that a command has written."""
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)


class _working:
    """A worker in a thread of its own: commands have their own event loops."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._work()))
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    def __enter__(self) -> None:
        self._thread.start()
        assert self._ready.wait(30)

    def __exit__(self, *exc_info: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    async def _work(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        config = WorkerConfig(poll_interval="100ms", drain_timeout="1s")
        async with Client(self._url) as client, Worker(client, flows, config=config):
            self._ready.set()
            await self._stop.wait()
