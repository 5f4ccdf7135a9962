"""An event loop on a thread of its own, for callers that have none."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from zart_core import UsageError

T = TypeVar("T")


class Background:
    """Runs coroutines on its loop while the caller's thread waits for them."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread, if it does not run."""
        if self._thread is None:
            self._loop = asyncio.SelectorEventLoop()  # on Windows psycopg works on no other
            self._thread = threading.Thread(target=self._loop.run_forever, name="zart-client", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Stop the thread and close the loop."""
        if self._loop is None or self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
        self._loop = self._thread = None

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what `work` gives. Whatever interrupts the wait, such as Ctrl-C, cancels it.

        Raises:
            UsageError: The thread does not run, or is the caller's own, which would wait for itself.
        """
        loop = self._loop
        if loop is None or threading.current_thread() is self._thread:
            work.close()
            raise UsageError(
                "the client is not open: use it in `with SyncClient(...) as client:`"
                if loop is None
                else "a SyncClient was called from its own thread; use Client in async code"
            )
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise
