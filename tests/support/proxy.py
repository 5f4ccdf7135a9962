"""Stands between a worker and its database, and catches the answer to a statement of one's choice.

What is caught has happened on the server, and nobody knows it: deliver the answer later, cut the connection, or
leave it hanging.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

READY_FOR_QUERY = b"Z\x00\x00\x00\x05"
"""How the last message of every answer begins."""


class Catch:
    """One answer that is being waited for, or held."""

    def __init__(self, pattern: bytes) -> None:
        self.pattern = pattern
        self.held = asyncio.Event()
        """Set when the server has answered and the worker does not know it."""
        self._decided = asyncio.Event()
        self._cut = False

    def deliver(self) -> None:
        """Let the answer through."""
        self._decided.set()

    def cut(self) -> None:
        """Throw the answer away and close the connection on both sides."""
        self._cut = True
        self._decided.set()

    async def decide(self) -> bool:
        """Hold the answer; return whether it is to be delivered."""
        self.held.set()
        await self._decided.wait()
        return not self._cut


class Proxy:
    """A Unix socket in front of the server's. `url` leads through it."""

    def __init__(self, database_url: str) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="zart-proxy-", dir="/tmp"))
        params = conninfo_to_dict(database_url)
        self._target = f"{params['host']}/.s.PGSQL.{params.get('port') or 5432}"
        self.url = make_conninfo(database_url, host=str(self._directory))
        self._path = self._directory / Path(self._target).name
        self._catches: list[Catch] = []
        self._swallows: list[tuple[bytes, asyncio.Event]] = []
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._tasks: set[asyncio.Task[None]] = set()

    def catch(self, pattern: str) -> Catch:
        """Catch the answer to the next message that holds `pattern`."""
        catch = Catch(pattern.encode())
        self._catches.append(catch)
        return catch

    def cut_answer(self, pattern: str) -> Catch:
        """Lose the answer to the next message that holds `pattern`, and its connection."""
        catch = self.catch(pattern)
        catch.cut()
        return catch

    def swallow(self, pattern: str) -> asyncio.Event:
        """Lose the next message that holds `pattern`: the server never hears of it, and nobody is told.

        The event is set when it is lost.
        """
        lost = asyncio.Event()
        self._swallows.append((pattern.encode(), lost))
        return lost

    def freeze(self) -> None:
        """Let nothing through, in either direction, and close nothing: the network has gone in silence."""
        self._flowing.clear()

    def thaw(self) -> None:
        """Let everything through again, also what was held back."""
        self._flowing.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        """Serve."""
        server = await asyncio.start_unix_server(self._serve, self._path)
        try:
            yield self
        finally:
            server.close()
            for task in list(self._tasks):
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)
            shutil.rmtree(self._directory)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        async with _closing(writer):
            from_server, to_server = await asyncio.open_unix_connection(self._target)
            async with _closing(to_server):
                caught: list[Catch] = []
                ways = {
                    asyncio.create_task(self._requests(reader, to_server, caught)),
                    asyncio.create_task(self._answers(from_server, writer, caught)),
                }
                try:
                    await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for way in ways:
                        way.cancel()
                    await asyncio.gather(*ways, return_exceptions=True)

    async def _requests(
        self, reader: asyncio.StreamReader, to_server: asyncio.StreamWriter, caught: list[Catch]
    ) -> None:
        before = b""
        while data := await reader.read(1 << 16):
            for catch in list(self._catches):
                if catch.pattern in before + data:
                    self._catches.remove(catch)
                    caught.append(catch)
            before = data[-1000:]
            if matching := [each for each in self._swallows if each[0] in data]:
                self._swallows.remove(matching[0])
                matching[0][1].set()
                continue
            await self._flowing.wait()
            to_server.write(data)
            await to_server.drain()

    async def _answers(
        self, from_server: asyncio.StreamReader, writer: asyncio.StreamWriter, caught: list[Catch]
    ) -> None:
        answer = b""
        while data := await from_server.read(1 << 16):
            answer += data
            if caught:
                if READY_FOR_QUERY not in answer[-6:]:
                    continue
                if not await caught.pop().decide():
                    return
            await self._flowing.wait()
            writer.write(answer)
            await writer.drain()
            answer = b""


@asynccontextmanager
async def _closing(writer: asyncio.StreamWriter) -> AsyncIterator[None]:
    """Close the connection at the end, whatever that is; a side that goes away is no error here."""
    try:
        with suppress(OSError, asyncio.CancelledError):
            yield
    finally:
        writer.close()
        with suppress(OSError, asyncio.CancelledError):
            await writer.wait_closed()
