"""From ready tasks to runs and spawned steps in memory: claim them, read what they need without locks, begin them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Awaitable, Callable, Container, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

from psycopg import AsyncConnection
from psycopg_pool import AsyncConnectionPool

from zart_core import Registry
from zart_core.spi import (
    TURN_BITS,
    ActiveRun,
    AttemptRecord,
    ClaimedRun,
    Host,
    Kind,
    Outcome,
    Phase,
    Record,
    reach,
)
from zart_scheduler.attempts import fold_attempts
from zart_scheduler.bodies import Bodies
from zart_scheduler.checkpoint import CheckpointWriter, Fenced
from zart_scheduler.stepclaim import load_steps, spawned_step
from zart_scheduler.store import runs, steps, tasks
from zart_scheduler.store.runs import RunInput
from zart_scheduler.store.statement import run as execute
from zart_scheduler.store.steps import JournalRow
from zart_scheduler.store.tasks import Claimed, Handler, Owned


class Claimer:
    """Claims tasks for one incarnation of a worker, and begins or resumes them."""

    def __init__(
        self,
        host: Host,
        worker_id: UUID,
        *,
        registry: Registry,
        queues: Sequence[str],
        pool: AsyncConnectionPool[AsyncConnection[Any]],
        writer: CheckpointWriter,
        bodies: Bodies,
        hand_back: Callable[[Sequence[Owned]], Awaitable[bool]],
    ) -> None:
        self._host, self._worker_id, self._registry, self._queues = host, worker_id, registry, queues
        self._pool, self._writer, self._bodies, self._hand_back = pool, writer, bodies, hand_back
        self._handlers = [Handler(w.name, w.version, w.current, w.timeout) for w in registry]

    async def claim(
        self, limit: int, *, is_draining: Callable[[], bool], suspects: bool = False
    ) -> Sequence[Claimed]:
        """Claim up to `limit` tasks and go on with them; return what came.

        Raises:
            Fenced: The worker may not claim any more.
            psycopg.Error: Some may have been claimed all the same: strays (`ownership`).
        """
        reach("before-claim")
        statement = tasks.claim(
            self._worker_id,
            uuid4(),
            queues=self._queues,
            handlers=self._handlers,
            limit=limit,
            suspects=suspects,
        )
        claimed = await self._writer.between_flushes(statement)
        if claimed is None:
            raise Fenced("another worker has taken its runs over")
        if claimed:
            reach("after-claim")
            await self._take(claimed, is_draining)
        return claimed

    async def _take(self, claimed: Sequence[Claimed], is_draining: Callable[[], bool]) -> None:
        # A cached body leaves the cache now: evicted while its new records are read, it would want its whole journal.
        bodies = [task for task in claimed if task.kind == "b"]
        unparked = (self._bodies.unpark(str(task.run_id), task.epoch) for task in bodies)
        cached = {run.id: run for run in unparked if run is not None}
        try:
            async with self._pool.connection() as connection:
                loaded = await load(connection, bodies, cached, self._host.loop.time())
                spawned = [task for task in claimed if task.kind == "s"]
                found_steps = await load_steps(connection, spawned, self._host.loop.time())
            if is_draining():
                await self._hand_back([Owned(task.task_id, task.epoch) for task in claimed])
                return
            for found in loaded.values():
                self._go_on(found, cached.pop(found.run_id, None))
            for found_step in found_steps:
                step = spawned_step(found_step, self._registry, self._host)
                self._bodies.active[step.id] = step
                with self._writer.blocking_on_bugs(step):
                    step.begin()
        finally:
            for run in cached.values():
                run.evict()

    def _go_on(self, found: ClaimedRun, cached: ActiveRun | None) -> None:
        run = cached or ActiveRun(found, self._registry.get(found.workflow, found.version), self._host)
        self._bodies.active[run.id] = run
        with self._writer.blocking_on_bugs(run):
            if cached is not None:
                cached.resume(found.epoch, found.records)
            else:
                run.begin()


async def load(
    connection: AsyncConnection[Any], claimed: Sequence[Claimed], cached: Container[str], now: float
) -> dict[str, ClaimedRun]:
    """Return the claimed runs by id.

    Args:
        connection: Any connection; nothing is locked.
        claimed: What was claimed.
        cached: The runs whose bodies are in memory; of these only what the claim itself gave a turn is read.
        now: The host loop's time, to which due times are reckoned.
    """
    if not claimed:
        return {}
    ids = [task.run_id for task in claimed]
    epochs = {str(task.run_id): task.epoch for task in claimed}
    floors = [epochs[str(i)] << TURN_BITS if str(i) in cached else None for i in ids]
    inputs = await execute(connection, runs.load_inputs(ids))
    journals = _journals(await execute(connection, steps.load_journals(list(zip(ids, floors, strict=True)))))
    attempts = fold_attempts(await execute(connection, steps.load_attempts(ids)), now)
    return {
        str(row.run_id): _claimed_run(row, journals[row.run_id], attempts[row.run_id].values())
        for row in inputs
        if row.epoch == epochs[str(row.run_id)]
    }


def _claimed_run(row: RunInput, records: Iterable[Record], attempts: Iterable[AttemptRecord]) -> ClaimedRun:
    phase = Phase(row.phase)
    return ClaimedRun(
        run_id=str(row.run_id),
        execution_id=row.execution_id,
        run_index=row.run_index,
        workflow=row.workflow,
        version=row.version or "",
        queue=row.queue,
        tags=row.tags,
        started_at=_utc(row.started_at or row.created_at),
        deadline=_utc(row.deadline_at) if row.deadline_at is not None and phase is Phase.BODY else None,
        epoch=row.epoch,
        input=bytes(row.input or b"{}"),
        phase=phase,
        outcome=bytes(row.outcome) if row.outcome is not None else None,
        records=tuple(records),
        attempts=tuple(attempts),
        accepted=frozenset(row.accepted),
    )


def _utc(moment: datetime) -> datetime:
    return moment.astimezone(UTC)


def _journals(rows: Iterable[JournalRow]) -> defaultdict[UUID, list[Record]]:
    found: defaultdict[UUID, list[Record]] = defaultdict(list)
    for row in rows:
        found[row.run_id].append(
            Record(
                row.ident,
                Kind(row.kind),
                Outcome(row.outcome),
                row.turn,
                row.payload,
                row.args_hash,
                row.attempt,
                row.seq,
            )
        )
    return found
