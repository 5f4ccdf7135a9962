"""One execution, lived through without harm and in every harmful way; the results are to be the same."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from tests.support.cluster import LEASE, Cluster

from zart_core import Workflow
from zart_scheduler import Client, Handle

Script = Callable[[Handle[Any]], Awaitable[None]]


async def nothing(_: Handle[Any]) -> None: ...


async def live(
    cluster: Cluster,
    workflow: Workflow[[], Any],
    execution_id: str,
    *,
    script: Script = nothing,
    crash_at: str | None = None,
    **config: Any,
) -> Any:
    """Return the result of one execution; with `crash_at` a worker is killed there, and another goes on."""
    async with Client(cluster.url) as client:
        handle = await client.start(workflow, execution_id=execution_id)
        if crash_at is not None:
            victim = await cluster.worker(crash_at=crash_at, **config)
            await script(handle)
            await victim.died()
            survivor = await cluster.worker(**config)
        else:
            survivor = await cluster.worker(**config)
            await script(handle)
        try:
            return await handle.result(LEASE + 20)
        finally:
            survivor.kill()
            await survivor.ended()
