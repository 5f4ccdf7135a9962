"""Lists of runs, page by page. A cursor names the last run of a page, so that what begins meanwhile moves nothing."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, TypedDict
from uuid import UUID

from zart_core.errors import UsageError
from zart_core.limits import aware, check_tags
from zart_core.records import Page, RunSummary
from zart_core.rows import RunFilter
from zart_core.states import RunState

MAX_PAGE: Final = 1000
"""Most runs of one page."""


class ListOptions(TypedDict, total=False):
    """What `list_runs` takes; what is None or left out does not restrict the list.

    Keys:
        state: Only runs in this state.
        workflow: Only runs of this workflow.
        tags: Only executions that have all of these tags.
        since: Only runs made at this moment or later; an aware datetime.
        until: Only runs made before this moment; an aware datetime.
        queue: Only runs of this queue.
        search: Only runs with this text in the execution's id or the workflow's name, in any case.
        all_runs: All runs of an execution, not only its current one. Default: False.
        limit: Runs of one page, 1 to 1000. Default: 50.
        cursor: `next_cursor` of the page before.
    """

    state: RunState | str | None
    workflow: str | None
    tags: Mapping[str, str] | None
    since: datetime | None
    until: datetime | None
    queue: str | None
    search: str | None
    all_runs: bool
    limit: int
    cursor: str | None


class ListRequest(NamedTuple):
    """Which page of which list. `after` names the last run of the page before it."""

    wanted: RunFilter
    limit: int
    after: tuple[datetime, UUID] | None


def list_request(options: ListOptions) -> ListRequest:
    """Return what `options` ask for.

    Raises:
        UsageError: A filter or the cursor cannot be.
        TypeError: There is no such filter.
    """
    if unknown := options.keys() - ListOptions.__annotations__.keys():
        raise TypeError(f"list_runs() has no option {min(unknown)!r}")
    limit, cursor = options.get("limit", 50), options.get("cursor")
    if isinstance(limit, bool) or not isinstance(limit, int) or not 1 <= limit <= MAX_PAGE:
        raise UsageError(f"limit must be a whole number from 1 to {MAX_PAGE}, not {limit!r}")
    return ListRequest(_filter(options), limit, None if cursor is None else _parse(cursor))


def page_of(found: Sequence[RunSummary], limit: int) -> Page[RunSummary]:
    """Return the page of at most `limit` of the runs that were `found`; there is a next one if there were more."""
    return Page(list(found[:limit]), _cursor(found[limit - 1]) if len(found) > limit else None)


def _filter(options: ListOptions) -> RunFilter:
    tags, since, until = options.get("tags"), options.get("since"), options.get("until")
    return RunFilter(
        state=_state(options.get("state")),
        workflow=options.get("workflow"),
        tags=None if tags is None else check_tags(tags),
        since=None if since is None else aware("since", since),
        until=None if until is None else aware("until", until),
        queue=options.get("queue"),
        search=options.get("search"),
        all_runs=options.get("all_runs", False),
    )


def _state(state: RunState | str | None) -> RunState | None:
    try:
        return None if state is None else RunState(state)
    except ValueError:
        raise UsageError(f"no such state: {state!r}; the states are {', '.join(RunState)}") from None


def _cursor(last: RunSummary) -> str:
    text = json.dumps([last.created_at.isoformat(), last.run_id])
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _parse(cursor: str) -> tuple[datetime, UUID]:
    try:
        created_at, run_id = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        return aware("cursor", datetime.fromisoformat(created_at)), UUID(run_id)
    except (ValueError, TypeError, AttributeError, UsageError):
        raise UsageError(
            f"the cursor {cursor[:80]!r} is none that a list has given; begin without one"
        ) from None
