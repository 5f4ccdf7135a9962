"""The signs of life of one attempt: what its step says by `heartbeat()`, and when it has been silent for too long."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from threading import Lock
from typing import Any

from zart_core.codec import MISSING, Codec

INTERVAL = 1.0
"""Seconds between two writes of one attempt's heartbeats; the first is written at once."""

_CODEC = Codec.of(MISSING, what="details of a heartbeat")


class Pulse:
    """Heartbeats of one attempt. `beat` and `latest` are for any thread, the rest for the worker's loop.

    Args:
        loop: The worker's loop.
        timeout: Longest silence in seconds; None for any.
        latest: The latest details that an earlier attempt of the step left, as stored.
        write: Writes details, as stored.
        limit: Largest payload in bytes.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        timeout: float | None,
        latest: bytes | None,
        write: Callable[[bytes], None],
        limit: int,
    ) -> None:
        self._loop, self._timeout, self._latest, self._write, self._limit = (
            loop,
            timeout,
            latest,
            write,
            limit,
        )
        self._lock = Lock()
        self._at = math.inf
        self._news = self._is_awake = self._is_over = False
        self._timer: asyncio.TimerHandle | None = None
        self._next = 0.0

    def begin(self) -> None:
        """The step's code begins; until then it waits for a thread, which is not its fault."""
        self._at = self._loop.time()

    def beat(self, details: Any) -> None:
        """Note that the step is alive, and how far it is.

        Raises:
            PayloadInvalid: The details are no JSON value.
            PayloadTooLarge: They are too large to be stored.
        """
        self._at = self._loop.time()
        if details is None:
            return
        payload, _ = _CODEC.encode(details, "details of a heartbeat", self._limit)
        with self._lock:
            self._latest, self._news = payload, True
            wakes = not self._is_awake and not self._is_over
            self._is_awake = self._is_awake or wakes
        if wakes:
            self._loop.call_soon_threadsafe(self._wake)

    @property
    def latest(self) -> Any:
        """The latest details, of this attempt or of an earlier one; None without any."""
        payload = self._latest
        return None if payload is None else _CODEC.decode(payload, "details of a heartbeat")

    @property
    def silent_at(self) -> float:
        """When the step will have been silent for too long, by the loop's clock."""
        if self._timeout is None:
            return math.inf
        return min(self._at, self._loop.time()) + self._timeout

    def flush(self) -> None:
        """Write what is not written yet."""
        with self._lock:
            payload = self._latest if self._news else None
            self._news = False
        if payload is not None:
            self._write(payload)

    def end(self) -> None:
        """Write nothing more."""
        with self._lock:
            self._is_over, self._news = True, False
        if self._timer is not None:
            self._timer.cancel()

    def _wake(self) -> None:
        if not self._is_over:
            self._timer = self._loop.call_at(max(self._next, self._loop.time()), self._write_news)

    def _write_news(self) -> None:
        self._is_awake = False
        self._next = self._loop.time() + INTERVAL
        self.flush()
