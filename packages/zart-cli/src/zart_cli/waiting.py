"""Waiting for the database, saying so: a worker or server that comes up first is in no hurry."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

from zart_cli import target
from zart_core.errors import StoreUnavailable

_log = logging.getLogger("zart")
_PAUSES = (0.2, 0.5, 1.0, 2.0)
_REMIND_EVERY = 30.0


async def database_ready(connect: Callable[[], None], url: str) -> None:
    """Call `connect` in a thread until it no longer raises `StoreUnavailable`; say that and for what we wait.

    Other errors, such as an outdated schema, end the wait and are the caller's.
    """
    began, said_at, tries = time.monotonic(), None, 0
    while True:
        try:
            await asyncio.to_thread(connect)
        except StoreUnavailable as error:
            now = time.monotonic()
            if said_at is None or now - said_at >= _REMIND_EVERY:
                said_at = now
                _log.warning("waiting for the database at %s: %s", target.describe(url), error)
        else:
            if said_at is not None:
                _log.info("the database is there after %.1f s", time.monotonic() - began)
            return
        await asyncio.sleep(_PAUSES[min(tries, len(_PAUSES) - 1)])
        tries += 1
