"""The JSON that goes in and out. Field names are those of Zart's records."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, Strict

from zart_core import RunState, StepState

MIN_PRIORITY: Final = -(2**15)
MAX_PRIORITY: Final = 2**15 - 1


def _without_nul(text: str) -> str:
    if "\0" in text:
        raise ValueError("must not contain NUL")
    return text


Text: TypeAlias = Annotated[str, AfterValidator(_without_nul)]
"""Text that PostgreSQL can compare with."""


class In(BaseModel):
    """Something that clients send: a field that it does not know is an error, never ignored."""

    model_config = ConfigDict(extra="forbid")


class Out(BaseModel):
    """Something that the API answers, made of a record. NaN and the infinities are written as text."""

    model_config = ConfigDict(from_attributes=True, ser_json_inf_nan="strings")


class StartIn(In):
    """An execution to start."""

    workflow: Text = Field(description="Name of the workflow.", min_length=1)
    input: Any = Field(
        default=None,
        description="The JSON of the workflow's only parameter, or an object by parameter name if it has several.",
    )
    execution_id: str | None = Field(
        default=None,
        description="1-255 characters, no control characters, no `~`. The same id, workflow and input start once. "
        "Made up if missing.",
    )
    at: AwareDatetime | None = Field(
        default=None, description="Not before this time; with an offset from UTC."
    )
    delay: Annotated[float, Strict()] | str | None = Field(
        default=None, description="Not before this much time has passed: seconds, or text such as `90s`."
    )
    queue: str | None = Field(default=None, description="Queue instead of the workflow's own.")
    priority: Annotated[int, Strict()] | None = Field(
        default=None, description="The higher goes first.", ge=MIN_PRIORITY, le=MAX_PRIORITY
    )
    tags: dict[str, str] | None = Field(default=None, description="Labels to find it by.")
    on_conflict: Literal["return", "restart", "reject"] = Field(
        default="return",
        description="If the execution exists already: return it, restart it with this input, or answer 409.",
    )
    allow_unknown: Annotated[bool, Strict()] = Field(
        default=False, description="Start it although no worker has registered a workflow of that name."
    )


_REASON: Final[Any] = Field(default=None, description="Kept with what was done.", max_length=1000)


class CancelIn(In):
    """Why an execution is cancelled."""

    reason: str | None = Field(default=None, description="Kept with the execution.", max_length=1000)


class UnblockIn(In):
    """How a blocked execution is repaired; an empty object just lets it try again."""

    accept: Text | None = Field(
        default=None,
        description="The call of today's code that it is blocked at: it runs as new, or takes its record in spite of "
        "other arguments.",
    )
    reset: Text | None = Field(
        default=None, description="The record to forget, and nothing else: its call runs again."
    )
    reason: str | None = Field(default=None, description="Kept in the audit.", max_length=1000)


class RestartIn(In):
    """Why an execution begins again."""

    reason: str | None = _REASON


class RerunIn(In):
    """Which steps of an execution run again: globs of their names."""

    steps: str | list[str] | None = Field(
        default=None,
        description="These run again. Without them, and without `keep`: the first that failed and all after it.",
    )
    keep: str | list[str] | None = Field(
        default=None, description="These are kept, also if `steps` names them; alone, all others run again."
    )
    reason: str | None = _REASON


class ForkIn(In):
    """Where another execution goes its own way."""

    from_step: str = Field(description="The first step that the new execution runs.", min_length=1)
    execution_id: str | None = Field(default=None, description="Id of the new execution. Made up if missing.")
    input: Any = Field(default=None, description="Another input, as for a start; null or missing: the same.")
    reason: str | None = _REASON


class RetryStepIn(In):
    """Which failed step is tried once more."""

    name: str | None = Field(
        default=None, description="The step; without it, the one that failed the run.", min_length=1
    )
    reason: str | None = _REASON


class FailureOut(Out):
    """How a step or run failed."""

    kind: str = Field(
        description="`error` for exceptions of the workflow's own, `cancelled`, else the engine's class."
    )
    type: str
    message: str
    traceback: str = ""


class RunOut(Out):
    """One run of an execution."""

    execution_id: str
    run_id: str
    run_index: int
    workflow: str
    version: str | None
    state: RunState
    queue: str
    tags: Mapping[str, str]
    created_at: datetime
    started_at: datetime | None
    completed_at: datetime | None


class RerunOut(RunOut):
    """The new run of a rerun."""

    doubtful: list[str] = Field(
        default=[],
        description="Kept steps that came after one that runs again, and may have used its old result.",
    )


class WaitingForOut(Out):
    """One open wait of a run."""

    kind: str
    name: str
    until: datetime | None


class AttemptOut(Out):
    """One attempt of a step, counted from 1."""

    number: int
    started_at: datetime | None
    completed_at: datetime | None
    failure: FailureOut | None
    heartbeat: Any = None


class StepOut(Out):
    """One durable call of a run. `result` is there with `include=payloads` only."""

    name: str
    scope: str
    kind: str
    key: str | None
    state: StepState
    attempt: int
    attempts: list[AttemptOut]
    result: Any = None
    failure: FailureOut | None
    started_at: datetime | None
    completed_at: datetime | None
    worker: str | None


class EventOut(Out):
    """One event of an execution's mailbox. `payload` is there with `include=payloads` only."""

    event_id: str
    name: str
    key: str | None
    payload: Any = None
    accepted_at: datetime
    state: str
    consumed_by: str | None


class RecordedCallOut(Out):
    """The side of a divergence that was recorded."""

    name: str
    scope: str
    identity: str
    kind: str
    outcome: str
    args: str | None = Field(description="Digest of the arguments.")
    completed_at: datetime | None
    worker: str | None


class CurrentCallOut(Out):
    """What today's code does where it diverges."""

    name: str
    scope: str
    identity: str
    kind: str
    args: str | None = Field(description="Digest of the arguments.")
    arguments: str | None = Field(description="Their text, cut short.")
    where: str = Field(description="The source line.")


class RemedyOut(Out):
    """One way to repair a blocked run."""

    command: str
    effect: str


class DivergenceOut(Out):
    """Why a run is blocked."""

    code: str = Field(description="`ZART-D001` to `ZART-D006`; stable.")
    reason: str
    cause: str = Field(description="The likely cause.")
    recorded: RecordedCallOut | None
    current: CurrentCallOut | None
    remedies: list[RemedyOut]


class ExecutionOut(Out):
    """An execution and its current run. `input` and `result` are there with `include=payloads` only."""

    execution_id: str
    workflow: str
    version: str | None
    state: RunState
    input: Any = None
    result: Any = None
    failure: FailureOut | None
    waiting_for: list[WaitingForOut]
    deadline: datetime | None
    worker: str | None
    tags: Mapping[str, str]
    parent: str | None
    children: list[str]
    orphans: list[str]
    divergence: DivergenceOut | None
    run: RunOut
    runs: list[RunOut]
    steps: list[StepOut]
    events: list[EventOut]


class RunPage(Out):
    """A page of runs; `next_cursor` is null on the last one."""

    items: list[RunOut]
    next_cursor: str | None = None


class StepPage(Out):
    """The steps of a run, in order."""

    items: list[StepOut]
    next_cursor: str | None = None


class EventPage(Out):
    """The mailbox of an execution, in order of acceptance."""

    items: list[EventOut]
    next_cursor: str | None = None


class StartedOut(Out):
    """The execution that a start made or found."""

    execution_id: str
    existing: bool = Field(description="Whether it was there before.")


class CompletedOut(Out):
    """The result of a run that completed."""

    state: Literal[RunState.COMPLETED] = RunState.COMPLETED
    result: Any


class FailedOut(Out):
    """How a run failed or was cancelled."""

    state: Literal[RunState.FAILED, RunState.CANCELLED]
    failure: FailureOut


class UnfinishedOut(Out):
    """The state of a run that has not ended; ask again after the seconds in `Retry-After`."""

    state: RunState


class StateOut(Out):
    """The state of an execution."""

    execution_id: str
    state: RunState


class BroadcastAcceptedOut(Out):
    """What became of an event that was broadcast."""

    event_id: str
    duplicate: bool = Field(description="Whether its idempotency key was seen before.")
    matched: int = Field(description="How many waits had it when this was answered.")


class PublishedOut(Out):
    """A value that a run has published."""

    key: str
    value: Any
    updated_at: datetime


class EventAcceptedOut(Out):
    """An accepted event: it is recorded."""

    event_id: str
    duplicate: bool = Field(description="Its key was accepted before; nothing was added.")
    waiting: bool = Field(description="A wait of the run took it at once.")


class WorkflowOut(Out):
    """One version of a workflow that a worker has registered."""

    workflow: str
    version: str
    current: bool = Field(description="Whether new runs get this version.")
    parameters: list[str]
    required: list[str]
    input_schema: Any = Field(description="JSON Schema of `input`.")
    result_schema: Any = Field(description="JSON Schema of the result.")
    last_seen_at: datetime


class WorkflowPage(Out):
    """The workflows that workers have registered."""

    items: list[WorkflowOut]
    next_cursor: str | None = None


class HealthOut(Out):
    """Whether the process lives or can serve."""

    status: Literal["ok"] = "ok"
