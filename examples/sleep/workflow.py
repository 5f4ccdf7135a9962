"""A reminder: sleep as long as you like; no process has to live until then."""

import os

from zart_core import sleep
from zart_decorators import durable, step


@step
async def note_down(what: str) -> str:
    return f"{what}: noted by process {os.getpid()}"


@step
async def remind(what: str) -> str:
    return f"{what}: reminded by process {os.getpid()}"


@durable
async def reminder(what: str, delay: str = "3d") -> list[str]:
    """Note something down, and remind of it after a delay such as 90s or 3d."""
    noted = await note_down(what)
    await sleep("until it is time", delay)  # the wake time is recorded now, once, by the database's clock
    return [noted, await remind(what)]
