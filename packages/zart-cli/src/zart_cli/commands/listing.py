"""`zart runs list`: one page, all runs of one execution, or a page that is drawn again and again."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.text import Text

from zart_cli import columns, output, terminal
from zart_cli.options import TagsOpt, parse_moment, tags_of
from zart_cli.reporting import say
from zart_cli.session import run
from zart_cli.verbs import verb
from zart_core import RunState, RunSummary

if TYPE_CHECKING:
    from zart_scheduler import Client

_EVERY = 2.0
_NOTHING = "no runs match; zart runs start NAME -d JSON  starts one"


StateOpt = Annotated[
    RunState | None, typer.Option("--state", help="Only runs in this state.", show_default=False)
]
WorkflowOpt = Annotated[
    str | None, typer.Option("--workflow", help="Only runs of this workflow.", show_default=False)
]
SinceOpt = Annotated[
    datetime | None,
    typer.Option(
        "--since",
        metavar="TIME|DURATION",
        parser=parse_moment,
        help="Created since then, or within that long.",
        show_default=False,
    ),
]
UntilOpt = Annotated[
    datetime | None,
    typer.Option(
        "--until",
        metavar="TIME|DURATION",
        parser=parse_moment,
        help="Created before then, or longer ago than that.",
        show_default=False,
    ),
]
QueueOpt = Annotated[str | None, typer.Option("--queue", help="Only runs of this queue.", show_default=False)]
SearchOpt = Annotated[
    str | None, typer.Option("--search", help="Part of an id or of a workflow's name.", show_default=False)
]
ExecutionOpt = Annotated[
    str | None,
    typer.Option("--execution", metavar="ID", help="All runs of this execution.", show_default=False),
]
AllOpt = Annotated[bool, typer.Option("--all", help="Also runs that others have followed.")]
LimitOpt = Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")]
CursorOpt = Annotated[
    str | None, typer.Option("--cursor", help="Go on where the page before ended.", show_default=False)
]
WatchOpt = Annotated[bool, typer.Option("--watch", help="Draw the list again and again, until Ctrl-C.")]


def register(group: typer.Typer) -> None:
    """Add the command."""
    examples = (
        "zart runs list --state failed --since 2h",
        "zart runs list --tag region=eu -o id | xargs -n1 zart runs cancel",
    )
    verb(group, "list", examples=examples)(list_)


def list_(
    state: StateOpt = None,
    workflow: WorkflowOpt = None,
    tag: TagsOpt = None,
    since: SinceOpt = None,
    until: UntilOpt = None,
    queue: QueueOpt = None,
    search: SearchOpt = None,
    execution: ExecutionOpt = None,
    all_runs: AllOpt = False,
    limit: LimitOpt = 50,
    cursor: CursorOpt = None,
    watch: WatchOpt = False,
) -> None:
    """List runs, newest first."""
    filters: dict[str, Any] = {
        "state": state,
        "workflow": workflow,
        "tags": tags_of(tag) or None,
        "since": since,
        "until": until,
        "queue": queue,
        "search": search,
        "cursor": cursor,
    }
    if execution is not None:
        if watch or any(value is not None for value in filters.values()):
            raise typer.BadParameter(
                "lists all runs of one execution: it goes alone", param_hint="--execution"
            )
        show_runs_of(execution)
        return
    filters |= {"all_runs": all_runs, "limit": limit}
    (watch_runs if watch else show_runs)(filters)


def show_runs(filters: Mapping[str, Any]) -> None:
    """Write one page of the runs that `Client.list_runs` finds."""
    page = run(lambda client: client.list_runs(**filters))
    _show(page.items)
    if page.next_cursor is not None:
        say(f"there are more: add --cursor {page.next_cursor}")


def show_runs_of(execution_id: str) -> None:
    """Write all runs of one execution, oldest first."""
    _show(run(lambda client: client.handle(execution_id).runs()))


def watch_runs(filters: Mapping[str, Any]) -> None:
    """Draw one page again and again until interrupted."""
    if not sys.stdout.isatty():
        raise typer.BadParameter(
            "draws on a terminal; use zart runs list -o json in scripts", param_hint="--watch"
        )
    run(lambda client: _watch(client, filters))


async def _watch(client: Client, filters: Mapping[str, Any]) -> None:
    with Live(console=terminal.console(), auto_refresh=False, screen=True) as live:
        while True:
            page = await client.list_runs(**filters)
            live.update(
                output.drawn(page.items, columns.RUNS) if page.items else Text(_NOTHING), refresh=True
            )
            await asyncio.sleep(_EVERY)


def _show(items: Sequence[RunSummary]) -> None:
    output.show_list(items, columns.RUNS, lambda record: record.execution_id, nothing=_NOTHING)
