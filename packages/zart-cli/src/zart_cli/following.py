"""What happens to runs, told as log lines: for the person in front of `zart dev`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from zart_cli.timeline import Look, brief, waits_text
from zart_cli.times import took
from zart_core import ExecutionDetails, RunState, RunSummary, StepDetails, StepState
from zart_scheduler import Client

_log = logging.getLogger("zart.runs")

_EVERY = 0.5
_NEWEST = 100
_MOST_AT_ONCE = 25

_Seen = dict[str, tuple[str, int]]


class Follower:
    """Tells of each run's steps and states once. It looks, and takes no part: a look that fails is simply repeated."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._states: dict[str, RunState] = {}
        self._steps: dict[str, _Seen] = {}

    async def follow(self, *, again: bool = False) -> None:
        """Tell of what happens from now on, until cancelled. `again`: it was followed until a moment ago."""
        began = False
        while True:
            try:
                await (self._look() if began else self._begin(tell=not again))
                began = True
            except Exception as error:
                _log.debug("cannot look: %s", error)
            await asyncio.sleep(_EVERY)

    async def _begin(self, *, tell: bool) -> None:
        """Take note of what there is already; tell only how much."""
        for run in (await self._client.list_runs(limit=_NEWEST)).items:
            details = (
                await self._client.handle(run.execution_id).describe() if not run.state.is_terminal else None
            )
            self._states[run.execution_id] = run.state
            self._steps[run.execution_id] = _seen(details.steps) if details else {}
        live = sum(not state.is_terminal for state in self._states.values())
        if live and tell:
            _log.info("%d run%s from before go%s on", live, *(("", "es") if live == 1 else ("s", "")))

    async def _look(self) -> None:
        page = await self._client.list_runs(limit=_NEWEST)
        for run in [run for run in reversed(page.items) if self._is_news(run)][:_MOST_AT_ONCE]:
            self._tell(await self._client.handle(run.execution_id).describe())

    def _is_news(self, run: RunSummary) -> bool:
        return run.state is RunState.RUNNING or self._states.get(run.execution_id) is not run.state

    def _tell(self, details: ExecutionDetails) -> None:
        name, before = details.execution_id, self._states.get(details.execution_id)
        about = {"execution": name, "workflow": details.workflow}
        if before is None:
            _log.info("started with %s", brief(details.input, 120), extra=about)
        known = self._steps.setdefault(name, {})
        for step in details.steps:
            state, failures = known.get(_key(step), ("", 0))
            for attempt in [attempt for attempt in step.attempts if attempt.failure is not None][failures:]:
                _log.warning(
                    "%s failed, attempt %d: %s", step.name, attempt.number, attempt.failure, extra=about
                )
            if state != step.state:
                _tell_step(step, about)
        known.update(_seen(details.steps))
        if details.state is not before:
            self._states[name] = details.state
            _tell_state(details, about)


def _tell_step(step: StepDetails, about: dict[str, Any]) -> None:
    length = took(step.started_at, step.completed_at)
    match step.state:
        case StepState.COMPLETED if step.kind == "step":
            attempt = f", attempt {step.attempt}" if step.attempt > 1 else ""
            _log.info("%s done%s%s", step.name, f" in {length}" if length else "", attempt, extra=about)
        case StepState.COMPLETED if step.kind == "event":
            _log.info("event %s came", step.name, extra=about)
        case StepState.TIMED_OUT:
            _log.warning("%s timed out", step.name, extra=about)


def _tell_state(details: ExecutionDetails, about: dict[str, Any]) -> None:
    match details.state:
        case RunState.COMPLETED:
            length = took(details.run.started_at, details.run.completed_at)
            _log.info("completed in %s: %s", length, brief(details.result, 120), extra=about)
        case RunState.FAILED:
            _log.error("failed: %s", details.failure, extra=about)
        case RunState.BLOCKED:
            _log.error("blocked: %s", details.divergence, extra=about)
        case RunState.CANCELLED:
            _log.warning("cancelled", extra=about)
        case RunState.WAITING | RunState.SLEEPING:
            for wait in waits_text(details.waiting_for, Look(datetime.now(UTC))):
                _log.info("waits for %s", wait, extra=about)
        case RunState.SCHEDULED if any(wait.kind == "worker" for wait in details.waiting_for):
            _log.warning("no worker runs %s", details.workflow, extra=about)


def _seen(steps: Iterable[StepDetails]) -> _Seen:
    return {
        _key(step): (step.state, sum(tried.failure is not None for tried in step.attempts)) for step in steps
    }


def _key(step: StepDetails) -> str:
    return f"{step.scope}:{step.name}:{step.key}:{step.started_at}"
