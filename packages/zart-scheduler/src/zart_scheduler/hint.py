"""Tell other processes that something may be ready, without making anybody wait for it.

A hint is a statement of its own after the commit, at most one per 50 ms: a NOTIFY in every transaction would make all
commits queue up. One that is lost costs a poll interval, nothing else.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable

from zart_core import ZartError

INTERVAL = 0.05
"""Shortest time between two hints, in seconds."""


class Hints:
    """Sends hints through `send`: the first at once, those that follow too soon as one at the interval's end."""

    def __init__(self, send: Callable[[], Awaitable[None]]) -> None:
        self._send = send
        self._last = float("-inf")
        self._later: asyncio.Task[None] | None = None

    async def give(self) -> None:
        """Tell now, or soon if there was a hint just now. A hint may be lost: a `ZartError` is not passed on."""
        if self._later is not None:
            return
        wait = self._last + INTERVAL - time.monotonic()
        if wait <= 0:
            await self._give()
        else:
            self._later = asyncio.create_task(self._give_in(wait), name="zart-hint")

    async def close(self) -> None:
        """Send at once what was to be sent later."""
        later, self._later = self._later, None
        if later is not None and later.cancel():
            await self._give()

    async def _give_in(self, wait: float) -> None:
        await asyncio.sleep(wait)
        self._later = None
        await self._give()

    async def _give(self) -> None:
        self._last = time.monotonic()
        with contextlib.suppress(ZartError):
            await self._send()
