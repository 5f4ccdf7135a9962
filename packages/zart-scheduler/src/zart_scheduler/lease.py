"""The worker's right to write, renewed by a thread that a blocked event loop cannot starve (L4).

Validity is reckoned from the moment before a successful renewal was sent, by the monotonic clock: it ends here before
it can end in the database. A renewal that is refused, or that does not come in time, ends the incarnation.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any
from uuid import UUID

import psycopg
from psycopg import AsyncConnection

from zart_scheduler.store import workers
from zart_scheduler.store.statement import run_sync

log = logging.getLogger("zart")

RENEWALS = 3
"""Renewals within one lease."""

PATIENCE = 1.0
"""Seconds that the end of a lease waits for its thread."""

SAFETY = 0.1
"""Part of the lease before its end at which the worker stops by itself."""


def notice_dead_peers(seconds: float) -> dict[str, Any]:
    """Return libpq's settings by which a connection fails in about `seconds` when the other side is gone in silence.

    Without them a worker whose server's machine vanished would wait for an answer for a quarter of an hour or more.
    """
    pause = max(1, round(seconds / 4))
    return {
        "tcp_user_timeout": round(seconds * 1000),
        "keepalives_idle": pause,
        "keepalives_interval": pause,
        "keepalives_count": 3,
    }


async def connect(conninfo: str, name: str, lease: float) -> AsyncConnection[Any]:
    """Return a connection for writing under a lease of so many seconds; `name` is what the server shows of it."""
    return await AsyncConnection.connect(
        conninfo,
        autocommit=True,
        prepare_threshold=None,
        application_name=name,
        **notice_dead_peers(lease),
    )


class Lease:
    """Keeps one worker row alive. `on_lost` is called once, from the thread, when the lease is or may be over."""

    def __init__(self, conninfo: str, worker_id: UUID, length: float, on_lost: Callable[[str], None]) -> None:
        self._conninfo, self._worker_id, self._length, self._on_lost = conninfo, worker_id, length, on_lost
        self._stop = threading.Event()
        self._valid_until = 0.0
        self.renewed = False
        """Whether the latest renewal succeeded; while not, nothing new is claimed."""
        self._thread = threading.Thread(target=self._keep, name="zart-lease", daemon=True)

    def start(self, registered_at: float) -> None:
        """Begin renewing; `registered_at` is the monotonic time before the worker row was written."""
        self._valid_until = registered_at + self._length * (1 - SAFETY)
        self.renewed = True
        self._thread.start()

    @property
    def is_valid(self) -> bool:
        """Whether the worker may still write."""
        return self.seconds_left > 0

    @property
    def seconds_left(self) -> float:
        """How long the worker may write if no renewal succeeds any more."""
        return self._valid_until - time.monotonic()

    def stop(self) -> None:
        """Renew no more. A thread that waits for a silent server is left behind: it can do no harm any more."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(timeout=PATIENCE)

    def _keep(self) -> None:
        connection: psycopg.Connection | None = None
        pause = self._length / RENEWALS
        try:
            while not self._stop.wait(pause):
                if not self.is_valid:
                    self._lose("its lease was not renewed in time")
                    return
                try:
                    if connection is None or connection.closed:
                        connection = self._connect()
                    if not self._renew(connection):
                        self._lose("another worker has taken it over")
                        return
                    pause = self._length / RENEWALS
                except psycopg.Error as error:
                    log.warning(
                        "the worker's lease could not be renewed: %s", str(error).strip().partition("\n")[0]
                    )
                    self.renewed = False
                    pause = self._length / RENEWALS / 4
                    if connection is not None:
                        connection.close()
        finally:
            if connection is not None:
                connection.close()

    def _connect(self) -> psycopg.Connection:
        patience = max(2, round(self._length / RENEWALS))
        return psycopg.connect(
            self._conninfo,
            autocommit=True,
            prepare_threshold=None,
            connect_timeout=patience,
            application_name="zart-lease",
            **notice_dead_peers(self._length / RENEWALS),
        )

    def _renew(self, connection: psycopg.Connection) -> bool:
        sent_at = time.monotonic()
        if not run_sync(connection, workers.renew(self._worker_id, self._length)):
            return False
        self._valid_until = sent_at + self._length * (1 - SAFETY)
        self.renewed = True
        return True

    def _lose(self, reason: str) -> None:
        self._valid_until, self.renewed = 0.0, False
        if not self._stop.is_set():
            self._on_lost(reason)
