"""SIGINT and SIGTERM: the first asks for an orderly stop, the second does not ask."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from types import FrameType
from typing import Any, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_STDERR = 2


class StopSignals:
    """While entered, the first signal sets `stopping`; the second leaves the process at once, whatever it does.

    Args:
        notice: Said on stderr at the first signal, also while a user's code blocks the event loop.
        patience: Seconds after the first signal when the process is left at once too; None for no limit.
    """

    def __init__(self, *, notice: str | None = None, patience: float | None = None) -> None:
        self.stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._notice, self._patience = notice, patience
        self._timer: threading.Timer | None = None
        self._seen = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            # Not loop.add_signal_handler: the second signal must also end a loop that a user's code blocks.
            self._before = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        return self

    def __exit__(self, *exc_info: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self._timer is not None:
            self._timer.cancel()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if self._seen:
            os._exit(128 + number)
        self._seen = True
        if self._notice is not None:
            os.write(
                _STDERR, f"{self._notice}\n".encode()
            )  # print() may have been interrupted by this very signal
        if self._patience is not None:
            self._timer = threading.Timer(self._patience, _leave, [128 + number])
            self._timer.daemon = True
            self._timer.start()
        self._loop.call_soon_threadsafe(self.stopping.set)


def _leave(status: int) -> None:
    os.write(_STDERR, b"zart: something did not stop in time; leaving without it\n")
    os._exit(status)
