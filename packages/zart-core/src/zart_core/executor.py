"""One run in memory: replay its body over the journal, start what is new, deliver outcomes in order, park or end.

The loop is `advance`: run the body until it waits; deliver the one outcome with the lowest turn, run the body again;
when nothing can be delivered, start the calls that have no record; when nothing is going on, park. Live and replay
take the same path (L2, L11): an outcome reaches the body from the journal, after its record is committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from contextvars import copy_context
from heapq import heappop, heappush
from typing import Any, NamedTuple

from pydantic_core import to_json

from zart_core.attempts import Attempts
from zart_core.bodyloop import BodyLoop
from zart_core.call import Call
from zart_core.conclusion import conclude, failed
from zart_core.control import DeadlinePassed, LeaseLost, RunBlocked, RunCancelled, Signal, Suspend
from zart_core.current import ExecutionContext, body_var
from zart_core.definition import Step, Workflow, check_same_step
from zart_core.errors import CallNotAwaited, DeadlineExceeded, PayloadInvalid
from zart_core.host import ClaimedRun, Host, Left
from zart_core.identity import Scope
from zart_core.items import (
    BlockItem,
    CancelItem,
    CollectItem,
    EndItem,
    Item,
    ParkItem,
    RecordItem,
    ReleaseItem,
    WaitItem,
)
from zart_core.journal import Journal, Outcome, Record
from zart_core.operations import CaptureOperation, EventOperation, SleepOperation, StepOperation
from zart_core.replay import Diverged, Execute, Recorded, decide
from zart_core.unwinding import abandon, interrupt

log = logging.getLogger("zart")

TURN_BITS = 32
SLICE = 200
"""Most deliveries in a row before the host loop gets its turn."""

UNWIND_GRACE = 1.0
"""Seconds that a body's own clean-up may take when it is stopped."""

IDLE_WARNING = 5.0
"""Seconds after which a body that waits in memory only is warned about (L14)."""


class _Waiting(NamedTuple):
    future: asyncio.Future[Any]
    call: Call[Any]


class ActiveRun:
    """A run that this process owns, or keeps as a cache after it was parked."""

    def __init__(self, claimed: ClaimedRun, workflow: Workflow[Any, Any], host: Host) -> None:
        self.id, self.execution_id, self.epoch = claimed.run_id, claimed.execution_id, claimed.epoch
        self.workflow, self.host = workflow, host
        self.context = ExecutionContext(
            execution_id=claimed.execution_id,
            run_id=claimed.run_id,
            run_index=claimed.run_index,
            workflow=claimed.workflow,
            version=claimed.version,
            queue=claimed.queue,
            tags=claimed.tags,
            started_at=claimed.started_at,
            deadline=claimed.deadline,
        )
        self.journal = Journal(claimed.records, claimed.attempts)
        self.loop = BodyLoop(host.loop, self.advance)  # type: ignore[abstract] # the rest is refused by name
        self.open_calls: dict[int, Call[Any]] = {}
        self.reserved = 0
        self.is_replaying = True
        self.attempts = Attempts(self)
        self.outstanding = 0
        """Items put and not yet answered."""
        self.collecting = False
        self.gone: Left | None = None
        """Why the run is no longer this worker's; nothing it does counts any more."""
        self._input = claimed.input
        self._count = 1 + max(
            (
                r.turn & 0xFFFFFFFF
                for r in claimed.records
                if r.turn is not None and r.turn >> TURN_BITS == claimed.epoch
            ),
            default=0,
        )
        self._body: asyncio.Task[Any] | None = None
        self._waiting: dict[str, _Waiting] = {}
        self._pending: dict[str, Call[Any]] = {}
        self._deliverable: list[tuple[int, str]] = []
        self._held: dict[int, None] = {}
        self._steps: dict[str, Step[Any, Any]] = {}
        self._sealed: type[Signal] | None = None
        self._reason: str | None = None
        self._unwound = False
        self._grace: asyncio.TimerHandle | None = None
        self._signalled: set[asyncio.Task[Any] | None] = set()
        self._leaving = False
        self._draining = False
        self._advancing = False
        self._warned = False
        self._look: asyncio.TimerHandle | None = None

    # -- what calls ask for, on the body's loop

    def current_scope(self) -> Scope:
        """Return the scope of the task that runs now."""
        return self.loop.current_scope()

    def meet_step(self, step: Step[Any, Any]) -> None:
        """Refuse a second step of the same name."""
        known = self._steps.setdefault(step.name, step)
        if known is not step:
            check_same_step(known, step)

    async def perform(self, call: Call[Any]) -> Any:
        """Wait for the outcome of `call` and return or raise it."""
        if self._sealed is not None:
            await self._refuse()
        decision = decide(self.journal, call, self.workflow.on_divergence)
        if isinstance(decision, Diverged):
            self.seal(RunBlocked, decision.reason)
            await self._refuse()
        future: asyncio.Future[Any] = self.loop.create_future()
        self._waiting[call.identity] = _Waiting(future, call)
        if isinstance(decision, Execute):
            call.context = copy_context()
            self._pending[call.identity] = call
        elif isinstance(decision, Recorded):
            heappush(self._deliverable, (decision.turn, call.identity))
        try:
            return await future
        except asyncio.CancelledError:
            waiting = self._waiting.get(call.identity)
            if waiting is not None and waiting.future is future:
                del self._waiting[call.identity]
                self._cancel(call)
            raise

    async def _refuse(self) -> None:
        """Raise the signal once in each task; after that never return (L7)."""
        task = asyncio.current_task()
        if task in self._signalled:
            await self.loop.create_future()
        self._signalled.add(task)
        assert self._sealed is not None  # noqa: S101 - only called when sealed
        raise self._sealed

    def _cancel(self, call: Call[Any]) -> None:
        """Record that the body gave `call` up before it had an outcome (L12)."""
        if (
            self.gone is not None
            or self._sealed is not None
            or (self._body is not None and self._body.done())
        ):
            return
        self._pending.pop(call.identity, None)
        record = self.journal.find(call.identity)
        if record is not None and record.outcome is Outcome.CANCELLED:
            return
        if isinstance(call.operation, SleepOperation | EventOperation):
            self.put(CancelItem(self, call.identity, call.sequence, call.operation.kind))
        elif record is None and self.attempts.give_up(call.identity):
            self.record(call, Outcome.CANCELLED, b"")

    # -- what the engine writes

    def take_turn(self) -> int:
        """Return the next turn; outcomes with a later one wait until this one is answered."""
        turn = self.epoch << TURN_BITS | self._count
        self._count += 1
        self._held[turn] = None
        return turn

    def record(self, call: Call[Any], outcome: Outcome, payload: bytes, **facts: Any) -> None:
        """Queue the outcome of a call made by this process."""
        self.put(
            RecordItem(
                self,
                call.identity,
                call.sequence,
                call.name,
                call.operation.kind,
                outcome,
                self.take_turn(),
                payload if outcome is not Outcome.CANCELLED else None,
                call.args_hash,
                **facts,
            )
        )

    def put(self, item: Item) -> None:
        """Queue a write."""
        self.outstanding += 1
        self.host.put(item)

    def waiting_call(self, identity: str) -> Call[Any] | None:
        """Return the call of that identity, if the body still waits for it."""
        waiting = self._waiting.get(identity)
        return waiting.call if waiting is not None else None

    def release_turn(self, turn: int) -> None:
        """Hold nothing back for `turn` any more; what had it takes another."""
        self._held.pop(turn, None)

    # -- life

    def begin(self) -> None:
        """Start the body, from the top."""
        try:
            args, kwargs = self.workflow.parameters.decode(self._input)
        except PayloadInvalid as error:
            self._end(*failed(error))
            return
        context = copy_context()
        context.run(body_var.set, self)
        self._body = self.loop.start(
            self.workflow.fn(*self.workflow.leading, *args, **kwargs), Scope(), context
        )
        self.advance()

    def resume(self, epoch: int, records: Iterable[Record]) -> None:
        """Go on after a park, with what has come since: the claim's epoch must be this run's plus one."""
        self.epoch, self._count, self.gone, self._leaving = epoch, 1, None, False
        self._held.clear()
        for record in records:
            self.enter(record)
        self.attempts.resume()
        self.advance()

    def advance(self) -> None:
        """Let the body run as far as it can."""
        if self._advancing or self.gone is not None or self._body is None:
            return
        if not self._draining:
            self._advancing = True
            try:
                self._run_slice()
            finally:
                self._advancing = False
        self._settle()

    def _run_slice(self) -> None:
        body = self._body
        assert body is not None  # noqa: S101 - advance has checked
        for _ in range(SLICE):
            if not self.loop.pump():
                break
            if self._sealed is not None:
                self._unwind()
                return
            if body.done():
                return
            if self._deliver_next():
                continue
            if not self._pending:
                return
            self._start_pending()
        self.host.loop.call_soon(self.advance)

    def _deliver_next(self) -> bool:
        """Deliver the outcome with the lowest turn among the waiting calls, unless an earlier one is still open."""
        while self._deliverable:
            turn, identity = self._deliverable[0]
            if self._held and turn > next(iter(self._held)):
                return False
            heappop(self._deliverable)
            record, waiting = self.journal.find(identity), self._waiting.get(identity)
            if (
                record is None
                or waiting is None
                or record.turn != turn
                or record.outcome is Outcome.CANCELLED
            ):
                continue
            del self._waiting[identity]
            if not waiting.future.done():
                self._hand_over(waiting, record)
                return True
        return False

    def _hand_over(self, waiting: _Waiting, record: Record) -> None:
        try:
            value = waiting.call.operation.receive(record)
        except RunBlocked as blocked:
            self.seal(RunBlocked, str(blocked))
        except Exception as error:
            waiting.future.set_exception(error)
        else:
            waiting.future.set_result(value)

    def _start_pending(self) -> None:
        self.is_replaying = False
        pending, self._pending = self._pending, {}
        for call in pending.values():
            self._start(call)

    def _start(self, call: Call[Any]) -> None:
        operation = call.operation
        if isinstance(operation, StepOperation | CaptureOperation):
            self.attempts.start(call)
        elif isinstance(operation, EventOperation):
            self.put(WaitItem(self, call.identity, call.sequence, operation.name, operation.timeout))
        elif isinstance(operation, SleepOperation):
            if operation.length is not None and operation.length <= 0:
                self.record(call, Outcome.OK, b"null")
                return
            item = RecordItem(self, call.identity, call.sequence, call.name, operation.kind, Outcome.OK, None)
            item.length, item.until = operation.length, operation.until
            self.put(item)

    def _settle(self) -> None:
        """Decide whether the run leaves: ended, blocked, released or parked."""
        body = self._body
        if self.gone is not None or self._leaving or self.outstanding or body is None:
            return
        if self._sealed is not None:
            if self._unwound and not self.attempts.running:
                self._leave_sealed()
        elif body.done():
            self._finish(body)
        elif self._draining:
            if not self.attempts.running:
                self._leave(ReleaseItem(self))
        elif self.loop.is_quiescent and not self._pending and not self.attempts.keep_awake:
            self._park()
        elif not self._warned and not self.attempts.keep_awake and (self.loop.timers or self.loop.threads):
            self._warned = True
            self.host.loop.call_later(IDLE_WARNING, self._warn_idle)

    def _park(self) -> None:
        if not self._waiting:
            self.seal(
                RunBlocked,
                "its body waits for something that nothing recorded will ever bring (a plain future or a lock)",
            )
            self.advance()
            return
        awaited = [
            identity
            for identity in self._waiting
            if (record := self.journal.find(identity)) is None or record.outcome is not Outcome.CANCELLED
        ]
        self._leave(ParkItem(self, awaited))

    def _finish(self, body: asyncio.Task[Any]) -> None:
        """The body is over: close what it left behind, and record how it ended."""
        if not self._unwound:
            self._unwound = True
            left = [waiting.call.name for waiting in self._waiting.values()]
            if left:
                log.warning(
                    "run %s of %s ended with calls still open, which are cancelled: %s",
                    self.id,
                    self.workflow.name,
                    ", ".join(left),
                )
            self.attempts.give_up_all()
            self._sealed_after_end()
        forgotten = (
            CallNotAwaited((call.name, call.where) for call in self.open_calls.values())
            if self.open_calls
            else None
        )
        self._end(*conclude(body, self.workflow, self.host.max_payload, forgotten))

    def _sealed_after_end(self) -> None:
        """Unwind branches that outlive the body; what they do counts no more."""
        self._sealed = Suspend
        interrupt(self.loop, Suspend)
        abandon(self.loop)
        self._sealed = None

    def _end(self, state: str, payload: bytes | None) -> None:
        self._leave(EndItem(self, state, payload))

    def _leave(self, item: Item) -> None:
        self._leaving = True
        self.put(item)

    # -- stopping

    def seal(self, signal: type[Signal], reason: str | None = None) -> None:
        """Let nothing of the body count any more; its calls raise `signal`. The first seal stands."""
        if self._sealed is None:
            self._sealed, self._reason = signal, reason

    def stop(self, signal: type[Signal], reason: str | None = None) -> None:
        """Stop the body from outside: cancelled, its deadline passed, or its lease lost."""
        if self.gone is not None or self._sealed is not None or self._leaving:
            return
        self.seal(signal, reason)
        self.attempts.give_up_all()
        self.advance()

    def drain(self) -> None:
        """Begin nothing more; once running steps are recorded, hand the run back. No code of the body runs."""
        self._draining = True
        self._settle()

    def abort_steps(self) -> None:
        """Cancel the steps that still run; their outcome will not be recorded."""
        self.attempts.give_up_all()
        self._settle()

    def evict(self) -> None:
        """Free the memory of a run that is not this worker's any more. `finally` blocks of the body run (L7)."""
        if self._look is not None:
            self._look.cancel()
        self.attempts.give_up_all()
        self._sealed = self._sealed or Suspend
        if self._body is not None and not self._unwound:
            self._unwind()

    def lost(self) -> None:
        """Another worker owns the run, or may: drop it at once (L4)."""
        if self.gone is None or self.gone is Left.PARKED:
            self._leave_memory(Left.LOST)
            self._sealed = self._sealed or LeaseLost
            self.evict()

    def _unwind(self) -> None:
        """Raise the signal into every wait; what the body then still does in memory gets a grace."""
        if self._unwound or self._sealed is None:
            return
        if self._grace is None:
            interrupt(self.loop, self._sealed)
        if not self.loop.live_tasks() or self.loop.is_quiescent:
            self._abandon()
        elif self._grace is None:
            self._grace = self.host.loop.call_later(UNWIND_GRACE, self._abandon)

    def _abandon(self) -> None:
        if self._unwound:
            return
        self._unwound = True
        if self._grace is not None:
            self._grace.cancel()
        abandon(self.loop)
        self._waiting.clear()
        self._pending.clear()
        self._settle()

    def _leave_sealed(self) -> None:
        if self._sealed is RunCancelled:
            self._end("cancelled", to_json(self._reason))
        elif self._sealed is DeadlinePassed:
            error = DeadlineExceeded(f"workflow {self.workflow.name!r} did not finish within its timeout")
            self._end(*failed(error))
        elif self._sealed is RunBlocked:
            self._leave(BlockItem(self, to_json(self._reason)))

    def _leave_memory(self, why: Left) -> None:
        self.gone = why
        if self._look is not None:
            self._look.cancel()
            self._look = None
        self.attempts.disarm()
        self.host.left(self, why)

    def _warn_idle(self) -> None:
        if self.gone is None and (self.loop.timers or self.loop.threads):
            log.warning(
                "run %s of %s cannot park: its body waits in memory (asyncio.sleep, asyncio.timeout or a thread), "
                "so it keeps its slot; use zart's sleep and timeout= in bodies",
                self.id,
                self.workflow.name,
            )

    # -- answers of the checkpoint writer; `advance` comes after all answers of a flush are entered

    def answered(self, item: Item) -> None:
        """`item` is done, whatever became of it."""
        self.outstanding -= 1
        turn = getattr(item, "turn", None)
        if turn:
            self._held.pop(turn, None)

    def enter(self, record: Record) -> None:
        """An outcome with a turn is known to be committed."""
        known = self.journal.find(record.identity)
        if known is not None and known.turn is not None:
            return
        self.journal.add(record)
        if record.turn is not None and record.identity in self._waiting:
            heappush(self._deliverable, (record.turn, record.identity))

    def recorded(self, item: RecordItem) -> None:
        """A plain record is committed."""
        self.attempts.forget(item.identity)
        self.enter(
            Record(
                item.identity,
                item.kind,
                item.outcome,
                item.turn,
                item.payload,
                item.args_hash,
                item.attempt,
                item.value,
            )
        )
        if item.length is not None:
            self._look_in(item.length)

    def cancelled(self, item: CancelItem) -> None:
        """A sleep or wait is closed."""
        self.journal.add(Record(item.identity, item.kind, Outcome.CANCELLED, item.turn, None))

    def waits(self, item: WaitItem) -> None:
        """A wait is registered, or met already; then its record came as well."""
        if item.timeout is not None:
            self._look_in(item.timeout)

    def collected(self, seconds: float | None) -> None:
        """All that has come has a turn now; the next is due in `seconds`."""
        self.collecting = False
        if seconds is not None:
            self._look_in(seconds)

    def collect(self) -> None:
        """Ask for what has come from outside."""
        if (
            not self.collecting
            and self.gone is None
            and not self._leaving
            and self._sealed is None
            and not self._draining
        ):
            self.collecting = True
            self.put(CollectItem(self))

    def unparked(self) -> None:
        """It was not parked: something awaited has come."""
        self._leaving = False
        self.host.look()
        self.collect()

    def gone_as(self, why: Left) -> None:
        """The run was parked, released, ended or blocked."""
        self._leave_memory(why)

    def _look_in(self, seconds: float) -> None:
        when = self.host.loop.time() + max(seconds, 0.001)
        if (
            self._look is None
            or self._look.cancelled()
            or self._look.when() > when
            or self._look.when() < self.host.loop.time()
        ):
            if self._look is not None:
                self._look.cancel()
            self._look = self.host.loop.call_at(when, self.collect)
