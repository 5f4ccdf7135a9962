"""`zart runs show`: one execution on one screen: where it stands, what it waits for, what happened, what to do next."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from zart_cli.blocked import draw_divergence
from zart_cli.plain import to_json
from zart_cli.settings import TimeStyle
from zart_cli.terminal import mark, printable, state_text
from zart_cli.times import moment_text, span, took
from zart_cli.traces import without_engine
from zart_core import ExecutionDetails, Failure, RunState, StepDetails, StepState, WaitingFor

_GAP = 2
_ALIGNED = 32
"""Columns up to this width stand one below the other; wider ones give way on narrow terminals."""
_PAYLOAD_WIDTH = 200
_DIM = "bright_black"


@dataclass(frozen=True, slots=True)
class Look:
    """How it is drawn. `now` is what relative times count from."""

    now: datetime
    time: TimeStyle = TimeStyle.RELATIVE
    unicode: bool = True

    def moment(self, moment: datetime | None) -> str:
        """Return a moment as text."""
        return moment_text(moment, self.now, self.time)


def draw_execution(details: ExecutionDetails, look: Look | None = None) -> Group:
    """Return the whole view of an execution's current run."""
    look = look or Look(datetime.now(UTC))
    parts: list[Any] = [_headline(details), _facts(details, look)]
    if details.steps:
        parts += [Text(), *_steps(details, look)]
    if failures := list(_failures(details)):
        parts += [Text(), *failures]
    if details.divergence is not None:
        parts += [Text(), *draw_divergence(details.divergence, look.moment)]
    elif (hint := next_command(details)) is not None:
        parts += [Text(), Text.assemble(("next: ", _DIM), hint)]
    return Group(*parts)


def waits_text(waits: Sequence[WaitingFor], look: Look) -> list[str]:
    """Return one line for each thing that a run waits for."""
    return [_wait_text(wait, look) for wait in waits]


def next_command(details: ExecutionDetails) -> str | None:
    """Return the command that most likely comes next; None if the run is done and well."""
    name = shlex.quote(details.execution_id)
    if details.state is RunState.FAILED:
        return f"zart runs steps {name} -o json  shows every attempt in full"
    if details.state.is_terminal:
        return None
    event = next((wait for wait in details.waiting_for if wait.kind == "event"), None)
    if event is not None:
        return f"zart events send {name} {shlex.quote(event.name)} -d '{{...}}'"
    if any(wait.kind == "child" for wait in details.waiting_for):
        return f"zart runs tree {name}  shows the children that it waits for"
    if any(wait.kind == "worker" for wait in details.waiting_for):
        queue = "" if details.run.queue == "default" else f" -q {shlex.quote(details.run.queue)}"
        return f"zart worker MODULE{queue}  with the module that defines {details.workflow}"
    return f"zart runs wait {name}"


def _headline(details: ExecutionDetails) -> Text:
    version = f" (version {details.version})" if details.version else ""
    return Text.assemble(
        (printable(details.execution_id), "bold"),
        "  ",
        printable(details.workflow),
        (version, _DIM),
        "  ",
        state_text(details.state),
    )


def _facts(details: ExecutionDetails, look: Look) -> Table:
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style=_DIM)
    grid.add_column(overflow="fold")
    for name, value in _fact_pairs(details, look):
        grid.add_row(f"  {name}", value if isinstance(value, Text) else Text(printable(value)))
    return grid


def _fact_pairs(details: ExecutionDetails, look: Look) -> Iterator[tuple[str, str | Text]]:
    for number, text in enumerate(waits_text(details.waiting_for, look)):
        yield "waits for" if number == 0 else "", Text(printable(text), style="magenta")
    yield from _times(details, look)
    if details.parent is not None:
        yield "parent", details.parent
    if details.children:
        yield "children", str(len(details.children))
    if details.run.queue != "default":
        yield "queue", details.run.queue
    if details.tags:
        yield "tags", " ".join(f"{name}={value}" for name, value in details.tags.items())
    if details.worker and not details.state.is_terminal:
        yield "worker", details.worker
    if details.run.run_index:
        yield "run", str(details.run.run_index)
    yield "input", brief(details.input)
    if details.failure is not None and details.failure.kind == "cancelled":
        yield "reason", details.failure.message
    if details.state is RunState.COMPLETED:
        yield "result", brief(details.result)
    if pending := sum(event.state == "pending" for event in details.events):
        yield "events", f"{pending} not yet consumed"
    if details.orphans:
        yield "orphans", f"{', '.join(details.orphans)}: recorded, and no call of the code asked for it"


def _times(details: ExecutionDetails, look: Look) -> Iterator[tuple[str, str]]:
    run = details.run
    yield "created", look.moment(run.created_at)
    if run.started_at is not None:
        yield "started", look.moment(run.started_at)
    if run.completed_at is not None:
        length = took(run.started_at, run.completed_at)
        yield "ended", look.moment(run.completed_at) + (f" after {length}" if length else "")
    if details.deadline is not None and not details.state.is_terminal:
        yield "deadline", look.moment(details.deadline)


def _wait_text(wait: WaitingFor, look: Look) -> str:
    until = "" if wait.until is None else look.moment(wait.until)
    match wait.kind:
        case "timer":
            return f"timer {wait.name}" + (f", wakes {until}" if until else "")
        case "event":
            return f"event {wait.name}" + (f", times out {until}" if until else "")
        case "retry":
            return f"retry of {wait.name}" + (f", {until}" if until else "")
        case "worker":
            return f"a worker that has {wait.name}" + (f", due {until}" if until else "")
        case _:
            return f"{wait.kind} {wait.name}" + (f", until {until}" if until else "")


def _steps(details: ExecutionDetails, look: Look) -> list[RenderableType]:
    """Return the steps in columns; what went wrong stands below its step and makes no column wider."""
    rows = [_cells(step, details, look) for step in details.steps]
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    drawn: list[RenderableType] = []
    for step, cells in zip(details.steps, rows, strict=True):
        if not drawn or not isinstance(drawn[-1], Table):
            drawn.append(_columns(widths))
        cast("Table", drawn[-1]).add_row(*cells)
        drawn += [Padding(line, (0, 0, 0, widths[0] + _GAP)) for line in _trouble(step)]
    return drawn


def _cells(step: StepDetails, details: ExecutionDetails, look: Look) -> tuple[Text, ...]:
    return (
        Text.assemble("  ", mark(step.state, unicode=look.unicode)),
        Text.assemble(step_label(step), (f"  in branch {step.scope}" if step.scope else "", _DIM)),
        Text.assemble(_stand(step, look), (_attempt_text(step), _DIM)),
        Text(_when(step, details), style=_DIM),
    )


def _columns(widths: Sequence[int]) -> Table:
    grid = Table.grid(padding=(0, _GAP, 0, 0))
    for width in widths:
        grid.add_column(overflow="fold", min_width=min(width, _ALIGNED))
    return grid


def step_label(step: StepDetails) -> str:
    """Return a step's name with its key."""
    return printable(f"{step.name}[{step.key}]" if step.key else step.name)


def _stand(step: StepDetails, look: Look) -> Text:
    kind = "" if step.kind == "step" else f"{step.kind} "
    if step.state is StepState.COMPLETED:
        return Text(kind + (took(step.started_at, step.completed_at) or "done"))
    text = Text.assemble(kind, state_text(step.state))
    if step.state is StepState.RUNNING and step.started_at is not None:
        text.append(f" for {span(look.now - step.started_at)}")
    return text


def _attempt_text(step: StepDetails) -> str:
    return f", attempt {step.attempt}" if step.attempt > 1 else ""


def _when(step: StepDetails, details: ExecutionDetails) -> str:
    """Return when a step began, counted from the start of the run."""
    start = details.run.started_at
    return "" if start is None or step.started_at is None else f"+{span(step.started_at - start)}"


def _trouble(step: StepDetails) -> Iterator[Text]:
    for attempt in step.attempts:
        if attempt.failure is not None and attempt.number < step.attempt:
            yield Text(f"attempt {attempt.number}: {_one_line(str(attempt.failure))}", style="yellow")
    if step.failure is not None:
        yield Text(_one_line(str(step.failure)), style="red")


def _failures(details: ExecutionDetails) -> Iterator[Text]:
    """Say where it failed: in the step first, then in the body that did not catch it."""
    failure = details.failure
    if failure is None or failure.kind == "cancelled":
        return
    step = next((step for step in reversed(details.steps) if str(step.failure) == str(failure)), None)
    if step is not None and step.failure is not None and step.failure.traceback:
        yield Text(f"in step {step_label(step)}:", style="bold")
        yield from _failure(step.failure)
        yield Text("in the workflow:", style="bold")
    yield from _failure(failure)


def _failure(failure: Failure) -> Iterator[Text]:
    trace = printable(without_engine(failure.traceback).rstrip())
    if trace:
        yield Text(trace, style="red")
    # A traceback ends in its own "Type: message": said once is enough.
    if str(failure) not in trace:
        yield Text(printable(str(failure)), style="bold red")


def brief(payload: Any, width: int = _PAYLOAD_WIDTH) -> str:
    """Return a payload as JSON on one line, cut where it gets longer than `width` characters."""
    text = to_json(payload, indent=None)
    return text if len(text) <= width else f"{text[: width - 3]}..."


def _one_line(text: str) -> str:
    return printable(" ".join(text.split()))
