"""`zart runs`: start, see and end executions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from zart_cli import columns, output, settings, terminal
from zart_cli.commands import outcomes
from zart_cli.options import (
    DataOpt,
    ExecutionIdArg,
    TagsOpt,
    WaitTimeoutOpt,
    parse_duration,
    parse_future_moment,
    parse_moment,
    tags_of,
)
from zart_cli.payload import read_json
from zart_cli.reporting import say
from zart_cli.session import run
from zart_cli.settings import Format
from zart_cli.timeline import Look, draw_execution
from zart_cli.verbs import noun, verb
from zart_core import ExecutionDetails, RunState, RunSummary

group = noun("runs", "Start, see and cancel executions.")

_NO_RUNS = "no runs match; zart runs start NAME -d JSON  starts one"


@verb(
    group,
    "list",
    examples=(
        "zart runs list --state failed --since 2h",
        "zart runs list --tag region=eu -o id | xargs -n1 zart runs cancel",
    ),
)
def list_(
    state: Annotated[
        RunState | None, typer.Option("--state", help="Only runs in this state.", show_default=False)
    ] = None,
    workflow: Annotated[
        str | None, typer.Option("--workflow", help="Only runs of this workflow.", show_default=False)
    ] = None,
    tag: TagsOpt = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            "--since",
            metavar="TIME|DURATION",
            parser=parse_moment,
            help="Created since then, or within that long.",
            show_default=False,
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            "--until",
            metavar="TIME|DURATION",
            parser=parse_moment,
            help="Created before then, or longer ago than that.",
            show_default=False,
        ),
    ] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", help="Only runs of this queue.", show_default=False)
    ] = None,
    search: Annotated[
        str | None,
        typer.Option("--search", help="Part of an id or of a workflow's name.", show_default=False),
    ] = None,
    execution: Annotated[
        str | None,
        typer.Option("--execution", metavar="ID", help="All runs of this execution.", show_default=False),
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=1000, help="How many at most.")] = 50,
    cursor: Annotated[
        str | None, typer.Option("--cursor", help="Go on where the page before ended.", show_default=False)
    ] = None,
) -> None:
    """List runs, newest first."""
    if execution is not None:
        items = run(lambda client: client.handle(execution).describe()).runs
        output.show_list(items, columns.RUNS, _id_of, nothing=_NO_RUNS)
        return
    page = run(
        lambda client: client.list_runs(
            state=state,
            workflow=workflow,
            tags=tags_of(tag) or None,
            since=since,
            until=until,
            queue=queue,
            search=search,
            limit=limit,
            cursor=cursor,
        )
    )
    output.show_list(page.items, columns.RUNS, _id_of, nothing=_NO_RUNS)
    if page.next_cursor is not None:
        say(f"there are more: add --cursor {page.next_cursor}")


@verb(group, examples=("zart runs show order-7", "zart runs show order-7 -o yaml"))
def show(execution_id: ExecutionIdArg) -> None:
    """Show where an execution stands, what it waits for, its steps and its failure."""
    output.show_one(_describe(execution_id), _draw, lambda details: details.execution_id)


@verb(group)
def steps(execution_id: ExecutionIdArg) -> None:
    """List the steps of an execution, in the order of its calls."""
    items = _describe(execution_id).steps
    output.show_list(items, columns.STEPS, lambda step: step.name, nothing="no step was recorded yet")


@verb(group)
def events(execution_id: ExecutionIdArg) -> None:
    """List the events that were sent to an execution."""
    show_events(execution_id)


@verb(
    group,
    examples=(
        """zart runs start order-fulfillment --id order-7 -d '{"order_id": "7", "amount": 12.5}'""",
        "zart runs start report -d @input.json --wait",
    ),
)
def start(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="The workflow's registered name.", show_default=False)
    ],
    data: DataOpt = None,
    execution_id: Annotated[
        str | None,
        typer.Option(
            "--id",
            help="The execution's id: starting it again returns the same one.",
            show_default="a new one",
        ),
    ] = None,
    queue: Annotated[
        str | None, typer.Option("--queue", help="The queue to put it in.", show_default="the workflow's own")
    ] = None,
    priority: Annotated[
        int | None,
        typer.Option("--priority", help="Higher numbers first.", show_default="the workflow's own"),
    ] = None,
    delay: Annotated[
        float | None,
        typer.Option(
            "--delay",
            metavar="DURATION",
            parser=parse_duration,
            help="Begin that much later.",
            show_default=False,
        ),
    ] = None,
    at: Annotated[
        datetime | None,
        typer.Option(
            "--at", metavar="TIME", parser=parse_future_moment, help="Begin then.", show_default=False
        ),
    ] = None,
    tag: TagsOpt = None,
    wait: Annotated[
        bool, typer.Option("--wait", help="Wait for the result, as zart runs wait does.")
    ] = False,
    timeout: WaitTimeoutOpt = None,
    allow_unknown: Annotated[
        bool,
        typer.Option(
            "--allow-unknown",
            help="Also if no worker has registered the name yet; the input is not checked then.",
        ),
    ] = False,
) -> None:
    """Start an execution and print its id.

    DATA is the JSON of the workflow's only parameter, or an object by parameter name if it has several. It is checked
    against what the workers have registered before anything is started.
    """
    if timeout is not None and not wait:
        raise typer.BadParameter("goes with --wait", param_hint="--timeout")
    if at is not None and delay is not None:
        raise typer.BadParameter("say --at or --delay, not both", param_hint="--at")
    given = () if data is None else (read_json(data),)

    async def begin(client: Any) -> tuple[bool, RunSummary]:
        handle = await client.start_input(
            name,
            *given,
            allow_unknown=allow_unknown,
            execution_id=execution_id,
            at=at,
            delay=delay,
            queue=queue,
            priority=priority,
            tags=tags_of(tag) or None,
        )
        return bool(handle.existing), (await handle.describe()).run

    existing, summary = run(begin)
    if existing:
        say(f"execution {summary.execution_id} exists already with this input; it is {summary.state}")
    if wait:
        say(f"started {summary.execution_id}") if not existing else None
        outcomes.wait_for_result(summary.execution_id, timeout)
        return
    output.show_one(summary, lambda record: output.write(f"{record.execution_id}\n"), _id_of)


@verb(group, examples=("zart runs wait order-7 --timeout 5m", "zart runs wait order-7 | jq .tracking_number"))
def wait(execution_id: ExecutionIdArg, timeout: WaitTimeoutOpt = None) -> None:
    """Wait for an execution to end and print its result as JSON.

    Exit code: 0 completed, 10 failed, 11 cancelled, 12 blocked, 124 --timeout passed, 130 Ctrl-C.
    """
    outcomes.wait_for_result(execution_id, timeout)


@verb(group)
def result(execution_id: ExecutionIdArg) -> None:
    """Print the result of an execution that has ended, as JSON.

    Exit code: 0 completed, 10 failed, 11 cancelled, 12 blocked, 124 not ended yet.
    """
    outcomes.wait_for_result(execution_id, 0.0)


@verb(group, examples=('zart runs cancel order-7 --reason "customer called"',))
def cancel(
    execution_id: ExecutionIdArg,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why; it is kept with the run.", show_default=False)
    ] = None,
) -> None:
    """Cancel an execution. Safe to repeat.

    No new step begins; a run that is being worked on ends as soon as its body has unwound.
    """

    async def stop(client: Any) -> RunSummary:
        handle = client.handle(execution_id)
        await handle.cancel(reason)
        details: ExecutionDetails = await handle.describe()
        return details.run

    output.show_one(run(stop), _say_cancelled, _id_of)


@verb(group, examples=("zart runs watch order-7",))
def watch(execution_id: ExecutionIdArg) -> None:
    """Watch an execution until it ends; exit code as of zart runs wait."""
    outcomes.watch(execution_id)


def show_events(execution_id: str) -> None:
    """List the mailbox of an execution."""
    items = _describe(execution_id).events
    output.show_list(
        items, columns.EVENTS, lambda event: event.event_id, nothing="no event was sent to it yet"
    )


def _describe(execution_id: str) -> ExecutionDetails:
    return run(lambda client: client.handle(execution_id).describe())


def _draw(details: ExecutionDetails) -> None:
    look = Look(datetime.now(UTC), settings.current().time, terminal.speaks_unicode())
    terminal.draw(draw_execution(details, look))


def _say_cancelled(record: RunSummary) -> None:
    if record.state.is_terminal:
        output.write(f"{record.execution_id} is {record.state}\n")
    else:
        output.write(f"{record.execution_id} is {record.state} and ends as soon as its body has unwound\n")


def _id_of(record: RunSummary) -> str:
    return record.execution_id


__all__ = ["Format", "group", "show_events"]
