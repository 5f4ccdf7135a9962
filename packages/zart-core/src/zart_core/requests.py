"""What a start is made of: target, arguments and options, checked before anything is sent. Pure."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple, Protocol, TypedDict
from uuid import UUID, uuid4

from zart_core.arguments import input_hash
from zart_core.definition import Invocation, Workflow
from zart_core.duration import Duration, seconds
from zart_core.errors import PayloadInvalid, UsageError
from zart_core.limits import aware, check_id, check_tags, check_word

_PRIORITIES = range(-32768, 32768)
_CONFLICTS = ("return", "restart", "reject")


class PlainOptions(TypedDict, total=False):
    """The options of every start; what is None or left out has its default.

    Keys:
        execution_id: Who starts the same id with the same workflow and input again gets the same execution.
            1-255 characters, no control characters, no `~`. Default: a random one.
        at: Not before this moment, an aware datetime.
        delay: Not before so long from now, by the database's clock; seconds, `timedelta` or text such as "5m".
        queue: Where it waits for a worker. Default: the workflow's queue; "default" by a name nobody has registered.
        priority: -32768 to 32767, the higher number first. Default: the workflow's; 0 by such a name.
        tags: Texts to find it by, at most 8 KiB together.
        on_conflict: What a start of an existing execution does: "return" it (default), "reject", or "restart": one of
            the same workflow gets a new run from scratch with this input, whatever it does or has come to.
    """

    execution_id: str | None
    at: datetime | None
    delay: Duration | None
    queue: str | None
    priority: int | None
    tags: Mapping[str, str] | None
    on_conflict: Literal["return", "restart", "reject"]


class Registered(Protocol):
    """Where the starts of a workflow go that say nothing else."""

    @property
    def queue(self) -> str:
        """Where they wait for a worker."""
        ...

    @property
    def priority(self) -> int:
        """Which go first."""
        ...


class StartRequest(NamedTuple):
    """A start, ready to be sent. Sending it again is the same start: its ids are its own.

    `version` is empty if the first claim is to bind it; `delay` is in seconds.
    """

    execution_id: str
    run_id: UUID
    workflow: str
    version: str
    input: bytes
    input_hash: bytes
    queue: str
    priority: int
    tags: Mapping[str, str]
    delay: float | None
    at: datetime | None
    reject: bool
    restart: bool
    definition: Workflow[Any, Any] | None


def invocation_of(target: object, args: tuple[Any, ...]) -> Invocation[Any]:
    """Return what `client.start(target, *args)` is to start.

    Raises:
        UsageError: The target is nothing that can be started.
    """
    if isinstance(target, Invocation):
        if args:
            raise UsageError("give the arguments either to `.call(...)` or to start(), not to both")
        return target
    if isinstance(target, Workflow | str):
        return Invocation(target, args, {})
    raise UsageError(
        f"start() takes a workflow, the invocation that `workflow.call(...)` gives, or a workflow's name, "
        f"not {target!r}; decorate an async function with @durable to make it a workflow"
    )


def start_request(
    workflow: Workflow[Any, Any] | str,
    stored: bytes,
    options: Mapping[str, Any],
    registered: Registered | None = None,
) -> StartRequest:
    """Return the start of `workflow` with the input `stored`, a canonical JSON object by parameter name.

    `registered` is what workers know of a workflow that is given by name, if any does.

    Raises:
        UsageError: An option cannot be.
        TypeError: There is no such option.
    """
    if unknown := options.keys() - PlainOptions.__annotations__.keys():
        raise TypeError(
            f"start() has no option {min(unknown)!r}; a workflow's keyword arguments go into `workflow.call(...)`"
        )
    definition = workflow if isinstance(workflow, Workflow) else None
    name = definition.name if definition else check_word("workflow", workflow)
    given_id, at, on_conflict = options.get("execution_id"), options.get("at"), _on_conflict(options)
    execution_id = str(uuid4()) if given_id is None else check_id("an execution's id", given_id)
    run_id = new_run_id()
    return StartRequest(
        execution_id=execution_id,
        run_id=run_id,
        workflow=name,
        version=definition.version if definition else "",
        input=stored,
        input_hash=input_hash(stored),
        queue=_queue(options.get("queue"), definition or registered),
        priority=_priority(options.get("priority"), definition or registered),
        tags=check_tags(options.get("tags")),
        delay=_delay(options.get("delay"), at),
        at=None if at is None else aware("at", at),
        reject=on_conflict == "reject",
        restart=on_conflict == "restart",
        definition=definition,
    )


def named_arguments(
    workflow: str, parameters: Sequence[str], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a start by name, each under its parameter's name.

    Raises:
        PayloadInvalid: There are more than parameters, or one is given twice.
    """
    if len(args) > len(parameters):
        raise PayloadInvalid(
            f"workflow {workflow!r} takes {len(parameters)} arguments, {len(args)} were given"
        )
    named = dict(zip(parameters, args, strict=False))
    if twice := named.keys() & kwargs.keys():
        raise PayloadInvalid(f"{min(twice)}: given by position and by name")
    return {**named, **kwargs}


def new_run_id() -> UUID:
    """Return a UUID of version 7: ids made later sort later, which keeps the rows of new runs together."""
    milliseconds, rest = divmod(time.time_ns(), 1_000_000)
    fraction = rest * 4096 // 1_000_000
    noise = int.from_bytes(os.urandom(8)) & (1 << 62) - 1
    return UUID(int=milliseconds << 80 | 7 << 76 | fraction << 64 | 2 << 62 | noise)


def _queue(given: str | None, workflow: Registered | None) -> str:
    if given is not None:
        return check_word("queue", given)
    return workflow.queue if workflow else "default"


def _priority(given: int | None, workflow: Registered | None) -> int:
    if given is None:
        return workflow.priority if workflow else 0
    if isinstance(given, bool) or not isinstance(given, int) or given not in _PRIORITIES:
        raise UsageError(f"priority must be a whole number from -32768 to 32767, not {given!r}")
    return given


def _delay(delay: Duration | None, at: datetime | None) -> float | None:
    if delay is None:
        return None
    if at is not None:
        raise UsageError("give either `delay` or `at`, not both")
    return seconds(delay, what="delay")


def _on_conflict(options: Mapping[str, Any]) -> str:
    given = options.get("on_conflict") or "return"
    if given not in _CONFLICTS:
        raise UsageError(f"on_conflict must be 'return', 'restart' or 'reject', not {given!r}")
    return str(given)
