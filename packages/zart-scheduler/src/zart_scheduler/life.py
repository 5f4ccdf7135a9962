"""Run an execution again: from scratch, in part, as another execution, or from the step that failed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any
from uuid import UUID, uuid4

from zart_core import (
    ExecutionConflict,
    ExecutionNotFound,
    IllegalTransition,
    Invocation,
    StoreConflict,
    UsageError,
    Workflow,
)
from zart_core.spi import check_id, check_reason, check_word, encode_plain, input_hash, new_run_id, plain
from zart_scheduler.access import Access
from zart_scheduler.actors import this_process
from zart_scheduler.arguments import stored_arguments
from zart_scheduler.checking import stored_input, unchecked_input
from zart_scheduler.globs import patterns
from zart_scheduler.store import life, reads, workflows
from zart_scheduler.store.life import Changed, Request
from zart_scheduler.store.statement import Statement

_SHOWN = 20
"""Most names of an error's text."""


class Life:
    """The actions of one execution. Each is carried out once, however often its answer is lost on the way."""

    def __init__(
        self, access: Access, execution_id: str, reason: str | None, idempotency_key: str | None
    ) -> None:
        self._access, self._id, self._reason = access, execution_id, check_reason(reason)
        self.is_replayed = False
        """Whether the request had been carried out before, by its key."""
        self._key = (
            None if idempotency_key is None else check_id("an idempotency key", idempotency_key, tilde=True)
        )

    async def restart(self, invocation: Invocation[Any] | None) -> None:
        """Make a new run from scratch."""
        given: dict[str, Any] = {}
        asked: dict[str, Any] = {}
        if invocation is not None:
            if not isinstance(invocation, Invocation):
                raise UsageError(f"restart() takes what `workflow.call(...)` gives, not {invocation!r}")
            workflow = invocation.workflow
            name, version = (
                (workflow.name, workflow.version) if isinstance(workflow, Workflow) else (workflow, "")
            )
            stored, _ = await stored_arguments(self._access, invocation)
            given = {"workflow": name, "version": version, "input": stored}
            asked = {"workflow": name, "input": input_hash(stored).hex()}
        run_id = new_run_id()
        answer = await self._do(life.restart(self._id, run_id, self._request(run_id, asked), **given))
        if answer.status == "conflict":
            raise ExecutionConflict(
                self._id, f"it runs workflow {answer.workflow!r}, not {given['workflow']!r}"
            )

    async def rerun(
        self, steps: str | Iterable[str] | None, keep: str | Iterable[str] | None
    ) -> tuple[str, ...]:
        """Make a new run that keeps records; return the kept steps that came after one that runs again."""
        run_id, asked = new_run_id(), {"steps": patterns("steps", steps), "keep": patterns("keep", keep)}
        request = self._request(run_id, asked)
        answer = await self._do(life.rerun(self._id, run_id, request, **asked))
        if answer.status == "no_step":
            raise UsageError(
                f"a glob fits no step that execution {self._id!r} has recorded; there are: {_list(answer)}"
            )
        return tuple(answer.names or ())

    async def fork(
        self, from_step: str, new_id: str | None, input: Any, workflow: Workflow[Any, Any] | None
    ) -> str:
        """Make an execution of the first records of the current run; return its id."""
        step = check_word("step", from_step)
        found = await self._access.read(reads.get_execution(self._id))
        if found is None:
            raise ExecutionNotFound(self._id)
        stored = found.input if input is None else await self._input(input, found.summary.workflow, workflow)
        run_id, wanted = new_run_id(), None if new_id is None else check_id("an execution's id", new_id)
        asked = {
            "step": step,
            "execution_id": wanted,
            "input": None if input is None else input_hash(stored).hex(),
        }
        statement = life.fork(
            self._id,
            found.summary.run_id,
            self._request(run_id, asked),
            new_id=wanted or str(uuid4()),
            run_id=run_id,
            step=step,
            input=stored,
            input_hash=input_hash(stored),
        )
        answer = await self._do(statement)
        if answer.status == "exists":
            raise ExecutionConflict(str(wanted), "a fork is a new execution; choose another id, or none")
        if answer.status == "no_step":
            raise UsageError(
                f"execution {self._id!r} has recorded no step {step!r} to fork from; there are: {_list(answer)}"
            )
        assert answer.execution_id is not None  # noqa: S101 - it is with `done` and `replayed`
        return answer.execution_id

    async def retry_step(self, name: str | None) -> None:
        """Open a failed run again for one more try of its failed step."""
        step = None if name is None else check_word("step", name)
        request = self._request(uuid4(), {"step": step})
        answer = await self._do(life.retry_step(self._id, request, step))
        if answer.status == "handled":
            raise IllegalTransition(
                self._id, "failed, and its rollbacks or its handler have begun", "retry a step of"
            )
        if answer.status == "illegal":
            raise IllegalTransition(self._id, answer.state or "ended", "retry a step of")
        if answer.status == "children":
            raise UsageError(
                f"a child of execution {self._id!r} would have to be tried again, and a run starts a child only once; "
                f"rerun makes a new run, with children of its own"
            )
        if answer.status == "no_step":
            which = "no step" if step is None else f"no step {step!r}"
            raise UsageError(
                f"{which} of execution {self._id!r} has failed (failed: {_list(answer)}); "
                f"rerun makes a new run of it that keeps what is recorded"
            )

    async def _do(self, statement: Statement[Changed]) -> Changed:
        answer = await self._access.change(statement)
        if answer.status == "done":
            await self._access.cancel_children()
        if answer.status == "unknown":
            raise ExecutionNotFound(self._id)
        if answer.status == "mismatch":
            raise StoreConflict(
                f"the idempotency key was used before, for execution {self._id!r}, to ask for something else; "
                f"a key belongs to one request"
            )
        self.is_replayed = self._key is not None and answer.status == "replayed"
        return answer

    async def _input(self, value: Any, name: str, workflow: Workflow[Any, Any] | None) -> bytes:
        if isinstance(value, Invocation):
            stored, _ = await stored_arguments(self._access, value)
            return stored
        value = plain(encode_plain(value, f"input of workflow {name!r}"))
        if workflow is not None:
            return workflow.parameters.from_input(value)
        registered = await self._access.read(workflows.get(name))
        return unchecked_input(value) if registered is None else stored_input(registered, value)

    def _request(self, own: UUID, asked: Mapping[str, Any]) -> Request:
        return Request(self._key or str(own), this_process(), {**asked, "reason": self._reason})


def _list(answer: Changed) -> str:
    names = [repr(name) for name in answer.names or ()]
    more = [f"and {len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join(names[:_SHOWN] + more) or "none"
