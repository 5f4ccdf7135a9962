"""One run in memory: replay its body over the journal, start what is new, deliver outcomes in order, park or end.

The loop is `advance`: run the body until it waits; deliver the one outcome with the lowest turn, run the body again;
when nothing can be delivered, start the calls that have no record; when nothing is going on, park. Live and replay
take the same path (L2, L11): an outcome reaches the body from the journal, after its record is committed.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine, Iterable
from contextvars import copy_context
from typing import Any, NoReturn

from zart_core import conclusion, divergence, starting
from zart_core.attempts import Attempts
from zart_core.bodyloop import BodyLoop
from zart_core.call import Call, Work
from zart_core.control import ContinueAsNew, LeaseLost, RunBlocked, RunCancelled, Signal, Suspend
from zart_core.current import ExecutionContext, body_var, step_var
from zart_core.definition import Step, Workflow, claim_names
from zart_core.delivery import TURN_BITS, Delivery, Waiting
from zart_core.errors import CallNotAwaited, PayloadInvalid
from zart_core.handlers import Phase, handler_arguments
from zart_core.handles import Handles
from zart_core.host import ClaimedRun, Host, Left
from zart_core.identity import Scope
from zart_core.items import (
    CancelItem,
    EndItem,
    Item,
    LeavingItem,
    ParkItem,
    RecordItem,
    ReleaseItem,
    WaitItem,
)
from zart_core.journal import UNSET, Journal, Kind, Outcome, Record
from zart_core.meeting import Meeting
from zart_core.outside import Outside
from zart_core.records import DivergenceDetails
from zart_core.replay import Execute, Recorded
from zart_core.saga import UNDO_SCOPE, Rollback, roll_back
from zart_core.unwinding import Unwinding

__all__ = ["TURN_BITS", "ActiveRun"]

log = logging.getLogger("zart")

SLICE = 0.01
"""Seconds that a body runs before the host loop gets its turn."""

IDLE_WARNING = 5.0
"""Seconds after which a body that waits in memory only is warned about (L14)."""


class ActiveRun:
    """A run that this process owns, or keeps as a cache after it was parked."""

    def __init__(self, claimed: ClaimedRun, workflow: Workflow[Any, Any], host: Host) -> None:
        self.id, self.execution_id = claimed.run_id, claimed.execution_id
        self.workflow, self.host = workflow, host
        self.context = ExecutionContext.of(claimed)
        self._phase, self._outcome = claimed.phase, claimed.outcome
        records, attempts = claimed.phase.own(claimed.records), claimed.phase.own(claimed.attempts)
        self.journal = Journal(records, attempts, claimed.accepted)
        self.loop: BodyLoop = BodyLoop(host.loop, self.advance, self)  # type: ignore[abstract] # the rest is refused by name
        self.open_calls: dict[int, Call[Any]] = {}
        self.reserved = 0
        self.attempts = Attempts(self)
        self.sagas: list[Rollback] = []
        """The rollbacks of open sagas, in the order of their registration."""
        self.outstanding = 0
        """Items put and not yet answered."""
        self.has_recorded = False
        """Whether an outcome was committed since the run was claimed."""
        self.gone: Left | None = None
        """Why the run is no longer this worker's; nothing it does counts any more."""
        self._input = claimed.input
        self._delivery = Delivery(self.journal, claimed.epoch, records)
        self._unwinding = Unwinding(self.loop, self.advance)
        self._outside, self._meeting = Outside(self), Meeting(self)
        self._body: asyncio.Task[Any] | None = None
        self._pending: dict[str, Call[Any]] = {}
        self.handles = Handles(self, self._meeting, self._delivery, self._pending)
        self._steps: dict[str, Step[Any, Any]] = {}
        self._is_rewinding = claimed.phase.is_undoing
        self._leaving = False
        self._draining = False
        self._advancing = False
        self._idle: asyncio.TimerHandle | None = None

    @property
    def epoch(self) -> int:
        """The epoch of the claim by which this process owns the run."""
        return self._delivery.epoch

    # -- what calls ask for, on the body's loop

    @property
    def is_replaying(self) -> bool:
        """Whether outcomes were recorded before that the body has not seen yet."""
        return self._delivery.is_replaying

    def current_scope(self) -> Scope:
        """Return the scope of the task that runs now."""
        return self.loop.current_scope()

    def meet_step(self, step: Step[Any, Any]) -> None:
        """Refuse a second step of the same name or alias, and one whose results cannot be stored."""
        if self._steps.get(step.name) is not step:
            step.result_codec()
            claim_names(step, self._steps)

    async def check(self) -> None:
        """Raise the signal, or never return, if nothing of the body counts any more."""
        if self._unwinding.signal is not None:
            await self._unwinding.refuse()

    async def perform(self, call: Call[Any]) -> Any:
        """Wait for the outcome of `call` and return or raise it."""
        await self.check()
        decision = self._meeting.meet(call)
        if decision is None:
            await self._unwinding.refuse()
        future: asyncio.Future[Any] = self.loop.create_future()
        turn = decision.turn if isinstance(decision, Recorded) else None
        self._delivery.expect(Waiting(future, call), turn)
        if isinstance(decision, Execute):
            call.context = copy_context()
            self._pending[call.identity] = call
        try:
            return await future
        except asyncio.CancelledError:
            if self._delivery.give_up(call.identity, future):
                self._cancel(call)
            raise

    def note(self, call: Call[Any]) -> None:
        """Record a call that has no outcome to wait for."""
        call.close()
        if self._unwinding.signal is None and isinstance(self._meeting.meet(call), Execute):
            self.record(call, Outcome.OK, b"null")

    def _cancel(self, call: Call[Any]) -> None:
        """Record that the body gave `call` up before it had an outcome (L12)."""
        if self.gone or self._unwinding.signal or (self._body is not None and self._body.done()):
            return
        self._pending.pop(call.identity, None)
        starting.give_up(self, call)

    @property
    def open_work(self) -> list[str]:
        """What the body has begun beside the task that runs now, or has made and not awaited; for people."""
        calls = [*self.open_calls.values(), *(waiting.call for waiting in self._delivery.waiting.values())]
        own = (self._body, asyncio.current_task())
        names = [call.name for call in calls] or list(self.handles.still_open().values())
        return names or [t.get_name() for t in self.loop.live_tasks() if t not in own]

    def continue_with(self, payload: bytes) -> NoReturn:
        """Give the body up; the execution's next run begins with `payload` as its input."""
        self._unwinding.seal(ContinueAsNew, payload.decode())
        raise self._unwinding.signal or ContinueAsNew

    # -- what the engine writes

    def take_turn(self) -> int:
        """Return the next turn; outcomes with a later one wait until this one is answered."""
        return self._delivery.take_turn()

    def release_turn(self, turn: int) -> None:
        """Hold nothing back for `turn` any more; what had it takes another."""
        self._delivery.release(turn)

    def record(self, call: Work, outcome: Outcome, payload: bytes | None, **facts: Any) -> None:
        """Queue the outcome of a call made by this process."""
        self.put(self.outcome(call, outcome, payload, **facts))

    def outcome(self, call: Work, outcome: Outcome, payload: bytes | None, **facts: Any) -> RecordItem:
        """Return the item that records the outcome of a call made by this process; it holds its turn from now on."""
        return RecordItem.of(self, call, outcome, self.take_turn(), payload, **facts)

    def put(self, item: Item) -> None:
        """Queue a write."""
        self.outstanding += 1
        self.host.put(item)

    def try_again(self, identity: str) -> None:
        """Start the next attempt of a step, if the body still waits for it, once nothing can be delivered any more."""
        waiting = self._delivery.waiting.get(identity)
        if waiting is not None:
            self._pending[identity] = waiting.call

    # -- life

    def begin(self) -> None:
        """Start the body, or the handler of how it ended, from the top."""
        workflow, phase = self.workflow, self._phase
        try:
            args, kwargs = workflow.parameters.decode(self._input)
        except PayloadInvalid as error:
            self._leave(EndItem(self, *conclusion.failed(error)))
            return
        handlers = {Phase.ON_FAILURE: workflow.on_failure, Phase.ON_CANCEL: workflow.on_cancel}
        fn: Any = handlers.get(phase, workflow.fn)
        if fn is None:  # as when a deploy has removed it
            self._leave(EndItem(self, *conclusion.unhandled(phase, self._outcome)))
            return
        args = (*workflow.leading, *args)
        if phase.is_handler:
            failure = conclusion.failure_of(phase, self._outcome)
            args, kwargs = handler_arguments(workflow, failure, args, kwargs)
        self._start_body(fn(*args, **kwargs), phase.scope)

    def _start_body(self, coroutine: Coroutine[Any, Any, Any], scope: Scope) -> None:
        context = copy_context()
        context.run(body_var.set, self)
        context.run(step_var.set, None)  # whoever claimed the run may have been woken by a step
        self._body = self.loop.start(coroutine, scope, context)
        self.advance()

    def resume(self, epoch: int, records: Iterable[Record]) -> None:
        """Go on after a park, with what has come since: the claim's epoch must be this run's plus one."""
        self._delivery.resume(epoch)
        self.gone, self._leaving, self.has_recorded = None, False, False
        for record in records:
            self.enter(record)
        self.attempts.resume()
        self.advance()

    def advance(self) -> None:
        """Let the body run as far as it can."""
        if self._advancing or self._body is None:
            return
        self._advancing = True
        try:
            if self._unwinding.signal is not None:
                self._unwind()
            elif self.gone is None and not self._draining:
                self._run_slice(self._body)
        finally:
            self._advancing = False
        self._settle()

    def _run_slice(self, body: asyncio.Task[Any]) -> None:
        end = self.host.loop.time() + SLICE
        while self.loop.pump():
            if self._unwinding.signal is not None:
                self._unwind()
                return
            if body.done():
                return
            if not self._deliver_next() and not self._start_next():
                return
            if self.host.loop.time() > end:
                break
        else:
            self._watch(conclusion.CANNOT_GO_ON)
        self.host.loop.call_soon(self.advance)

    def _deliver_next(self) -> bool:
        if (found := self._delivery.take_next()) is None:
            return False
        waiting, record = found
        try:
            value = waiting.call.operation.receive(record)
        except RunBlocked as blocked:
            self._meeting.cannot_read(waiting.call, record, str(blocked))
        except Exception as error:
            waiting.future.set_exception(error)
        else:
            waiting.future.set_result(value)
        if not self._is_rewinding:  # then no body asks twice, and a parked run must not weigh much
            record.payload, record.value = None, UNSET
        self._is_busy()
        return True

    def _start_next(self) -> bool:
        if not self._pending or self._leaving or self._is_rewinding:
            return False
        self._delivery.is_new()
        self._is_busy()
        call = self._pending.pop(next(iter(self._pending)))
        if self._meeting.may_start(call):
            starting.start(self, call)
        return True

    def _settle(self) -> None:
        """Decide whether the run leaves: ended, blocked, released or parked."""
        body = self._body
        if self.gone is not None or self._leaving or self.outstanding or body is None:
            return
        if self._unwinding.signal is not None:
            if self._unwinding.is_over and not self.attempts.running:
                self._stopped()
        elif self._is_rewinding:
            self._turn_back()
        elif body.done():
            self._finish(body)
        elif self._draining:
            if not self.attempts.running:
                self._leave(ReleaseItem(self))
        elif self._pending or self.attempts.keep_awake:
            pass
        elif self.loop.is_quiescent:
            self._park()
        elif not self.loop.ready:
            self._watch(conclusion.CANNOT_PARK)

    def _turn_back(self) -> None:
        """The replay has come as far as it can: end the body, and do what it has registered to undo it."""
        if self._draining:
            self._leave(ReleaseItem(self))
        elif not self.loop.ready:
            self._unwinding.seal(RunCancelled)
            self.advance()

    def _stopped(self) -> None:
        if not self._is_rewinding or self._unwinding.signal not in (RunCancelled, ContinueAsNew):
            self._leave(conclusion.stopped(self, self._unwinding))
            return
        self._is_rewinding = False
        self.loop = BodyLoop(self.host.loop, self.advance, self)  # type: ignore[abstract] # as above
        self._unwinding = Unwinding(self.loop, self.advance)
        self.open_calls.clear()
        self.handles = Handles(self, self._meeting, self._delivery, self._pending)
        self._start_body(roll_back(self, self.sagas), Scope(UNDO_SCOPE))

    def _park(self) -> None:
        if awaited := self._delivery.awaited():
            if self._outside.may_park():
                self._leave(ParkItem(self, awaited))
            return
        reason = conclusion.WAITS_FOR_A_CANCELLED if self._delivery.waiting else conclusion.WAITS_FOR_NOTHING
        self.block(divergence.without_record(divergence.STUCK, reason, self.execution_id))
        self.advance()

    def _finish(self, body: asyncio.Task[Any]) -> None:
        """The body is over: close what it left behind, and record how it ended."""
        forgotten = CallNotAwaited((call.name, call.where) for call in self.open_calls.values())
        left = {identity: waiting.call.name for identity, waiting in self._delivery.waiting.items()}
        if names := ", ".join((left | self.handles.still_open()).values()):
            log.warning("%r ended with calls still open, which are cancelled: %s", self, names)
        ending = conclusion.conclude(body, self, self._phase, self._outcome, forgotten)
        self.attempts.give_up_all()
        unseen = self._delivery.unseen_events(is_complete=True)
        self._unwinding.close_branches()
        undo = bool(self.sagas) and self._phase is Phase.BODY
        orphans = [] if self._phase.is_undoing else self._meeting.orphans()
        self._leave(EndItem(self, *ending, undo, orphans, unseen=unseen))

    def _leave(self, item: Item) -> None:
        self._leaving = True
        if isinstance(item, LeavingItem) and not item.unseen:
            item.unseen = self._delivery.unseen_events()
        self.put(item)

    # -- stopping

    def stop(self, signal: type[Signal], reason: str | None = None) -> None:
        """Stop the body from outside: cancelled, its deadline passed, or its lease lost."""
        if self.gone is not None or self._unwinding.signal is not None or self._leaving:
            return
        self._unwinding.seal(signal, reason)
        self.attempts.give_up_all()
        self.advance()

    def block(self, details: DivergenceDetails) -> None:
        """Stop the body: it does not fit what is recorded, or cannot go on for another reason."""
        self._unwinding.seal(RunBlocked, details)

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
        self._outside.stop()
        self.attempts.give_up_all()
        if self._body is not None and not self._unwinding.is_over:
            self._unwinding.seal(Suspend)
            self.advance()

    def lost(self) -> None:
        """Another worker owns the run, or may: drop it at once (L4)."""
        if self.gone is None or self.gone is Left.PARKED:
            self.gone_as(Left.LOST)
            self._unwinding.seal(LeaseLost)
            self.evict()

    def _unwind(self) -> None:
        self._unwinding.proceed()
        if self._unwinding.is_over:
            self._delivery.waiting.clear()
            self._pending.clear()

    def _watch(self, warning: str) -> None:
        """Warn if nothing is delivered or started for some seconds."""
        if self._idle is None:
            self._idle = self.host.loop.call_later(IDLE_WARNING, log.warning, warning, self)

    def _is_busy(self) -> None:
        self._outside.has_moved()
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def __repr__(self) -> str:
        return f"<run {self.id} of {self.workflow.name!r}>"

    # -- answers of the checkpoint writer; `advance` comes after all answers of a flush are entered

    def answered(self, item: Item) -> None:
        """`item` is done, whatever became of it."""
        self.outstanding -= 1
        if turn := getattr(item, "turn", None):
            self._delivery.release(turn)

    def enter(self, record: Record) -> None:
        """An outcome with a turn is known to be committed."""
        self._delivery.enter(record)
        waiting = self._delivery.waiting.get(record.identity)
        if waiting is not None and record.kind is Kind.CHILD:
            self._meeting.meet(
                waiting.call
            )  # an earlier pass may have started the child with other arguments

    def recorded(self, item: RecordItem) -> None:
        """A plain record is committed."""
        self.has_recorded = True
        self.attempts.forget(item.identity)
        self.enter(item.to_record())
        if item.length is not None:
            self._outside.look_in(item.length)

    def cancelled(self, item: CancelItem) -> None:
        """A sleep or wait is closed."""
        self.journal.add(Record(item.identity, item.kind, Outcome.CANCELLED, item.turn, None))

    def waits(self, item: WaitItem) -> None:
        """A wait is registered, or met already; then its record came as well."""
        if item.timeout is not None:
            self._outside.look_in(item.timeout)

    def collect(self) -> None:
        """Ask for what has come from outside."""
        if not (self.gone or self._leaving or self._draining or self._unwinding.signal):
            self._outside.collect()

    def collected(self, seconds: float | None) -> None:
        """All that has come has a turn now; the next is due in `seconds`."""
        self._outside.collected(seconds)

    def unparked(self) -> None:
        """It was not parked: something awaited has come."""
        self._leaving = False
        self._outside.unparked()
        self.host.look()
        self.collect()

    def refused(self, reason: str) -> Item:
        """Return what is to be written when nothing else of the run can be."""
        return conclusion.broken(self, reason)

    def gone_as(self, why: Left) -> None:
        """The run was parked, released, ended or blocked."""
        self.gone = why
        self._outside.stop()
        self._is_busy()
        self.attempts.disarm()
        self.host.left(self, why)
