"""Workflows whose steps send heartbeats."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from tests.support.workflows import take_effect
from zart_core import StepTimeout, context, heartbeat, last_heartbeat
from zart_decorators import durable, step


@step("page-through", retry="fixed(2, 20ms)")
async def page_through(pages: int, seconds: float) -> list[int]:
    """Go on after the last page that is known; return the pages of this attempt."""
    start = last_heartbeat() or 0
    for page in range(start, pages):
        take_effect(page=page)
        heartbeat(page + 1)
        await asyncio.sleep(seconds)
    return list(range(start, pages))


@durable("paging")
async def paging(pages: int, seconds: float) -> list[int]:
    return await page_through(pages, seconds)


@step("beat-in-thread", heartbeat_timeout="500ms", retry="fixed(1, 20ms)")
def beat_in_thread(beats: int, silence: float) -> Any:
    """Beat every 100 ms, then be silent; the second attempt returns what the first has left."""
    if context().attempt == 2:
        return last_heartbeat()
    for n in range(beats):
        heartbeat({"beat": n})
        time.sleep(0.1)
    take_effect()
    time.sleep(silence)
    return "in time"


@durable("beating")
async def beating(beats: int, silence: float) -> Any:
    try:
        return await beat_in_thread(beats, silence)
    except StepTimeout:
        return "StepTimeout"
