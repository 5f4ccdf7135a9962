"""What tables show of each record."""

from __future__ import annotations

from datetime import UTC, datetime

from zart_cli import settings
from zart_cli.output import Column
from zart_cli.terminal import state_text
from zart_cli.timeline import brief, step_label
from zart_cli.times import moment_text, took
from zart_core import EventDetails, RunSummary, StepDetails

_CELL_WIDTH = 60


def moment(value: datetime | None) -> str:
    """Return a moment in the style that --time chose."""
    return moment_text(value, datetime.now(UTC), settings.current().time)


def tags(run: RunSummary) -> str:
    """Return tags as they are written on the command line."""
    return " ".join(f"{name}={value}" for name, value in run.tags.items())


def _outcome(step: StepDetails) -> str:
    if step.failure is not None:
        return " ".join(str(step.failure).split())
    return "" if step.result is None else brief(step.result, _CELL_WIDTH)


RUNS: tuple[Column[RunSummary], ...] = (
    Column("EXECUTION", lambda run: run.execution_id),
    Column("WORKFLOW", lambda run: run.workflow),
    Column("STATE", lambda run: state_text(run.state)),
    Column("CREATED", lambda run: moment(run.created_at)),
    Column("TOOK", lambda run: took(run.started_at, run.completed_at)),
    Column("RUN", lambda run: str(run.run_index or ""), optional=True),
    Column("QUEUE", lambda run: "" if run.queue == "default" else run.queue, optional=True),
    Column("TAGS", tags, optional=True),
)

STEPS: tuple[Column[StepDetails], ...] = (
    Column("STEP", step_label),
    Column("KIND", lambda step: step.kind),
    Column("STATE", lambda step: state_text(step.state)),
    Column("ATTEMPT", lambda step: str(step.attempt)),
    Column("STARTED", lambda step: moment(step.started_at)),
    Column("TOOK", lambda step: took(step.started_at, step.completed_at)),
    Column("BRANCH", lambda step: step.scope, optional=True),
    Column("OUTCOME", _outcome, optional=True),
)

EVENTS: tuple[Column[EventDetails], ...] = (
    Column("EVENT", lambda event: event.event_id),
    Column("NAME", lambda event: event.name),
    Column("STATE", lambda event: state_text(event.state)),
    Column("ACCEPTED", lambda event: moment(event.accepted_at)),
    Column("KEY", lambda event: event.key or "", optional=True),
    Column("TAKEN BY", lambda event: event.consumed_by or "", optional=True),
    Column("PAYLOAD", lambda event: brief(event.payload, _CELL_WIDTH)),
)
