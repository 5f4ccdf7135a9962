"""`zart runs`: start, see and end executions."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from zart_cli import columns, output, settings, terminal
from zart_cli.commands import again, listing, outcomes, starting
from zart_cli.options import (
    ExecutionIdArg,
    ReasonOpt,
    WaitTimeoutOpt,
)
from zart_cli.session import run
from zart_cli.timeline import Look, draw_execution
from zart_cli.tree import draw_tree, ids_of
from zart_cli.verbs import noun, verb
from zart_core import ExecutionDetails, RunSummary

if TYPE_CHECKING:
    from zart_scheduler import Client

group = noun("runs", "Start, see and cancel executions.")


listing.register(group)


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


@verb(group, examples=("zart runs tree order-7", "zart runs tree order-7 -o id"))
def tree(execution_id: ExecutionIdArg) -> None:
    """Show an execution with the children that it has started, and theirs."""
    found = run(lambda client: client.handle(execution_id).tree())
    output.show_one(found, lambda tree: terminal.draw(draw_tree(tree)), lambda tree: "\n".join(ids_of(tree)))


starting.register(group)


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
def cancel(execution_id: ExecutionIdArg, reason: ReasonOpt = None) -> None:
    """Cancel an execution. Safe to repeat.

    No new step begins; a run that is being worked on ends as soon as its body has unwound.
    """

    async def stop(client: Client) -> RunSummary:
        handle = client.handle(execution_id)
        await handle.cancel(reason)
        return (await handle.describe()).run

    output.show_one(run(stop), _say_cancelled, _id_of)


@verb(
    group,
    examples=("zart runs unblock order-7 --accept charge", "zart runs unblock order-7 --reset charge#2"),
)
def unblock(
    execution_id: ExecutionIdArg,
    accept: Annotated[
        str | None,
        typer.Option(
            "--accept",
            metavar="STEP",
            help="The call of today's code it is blocked at: it is new, or takes its record as it is.",
            show_default=False,
        ),
    ] = None,
    reset: Annotated[
        str | None,
        typer.Option(
            "--reset",
            metavar="STEP",
            help="The record to forget: that call runs again, and nothing else.",
            show_default=False,
        ),
    ] = None,
    reason: ReasonOpt = None,
) -> None:
    """Let a blocked execution try again. zart runs show tells what blocks it, and the command that repairs it.

    Without --accept and --reset nothing of it is changed: for when the code is right again.
    A step is named as NAME, NAME#N (counted from 0), NAME#=KEY, or with its branch, .0:NAME#N.
    """

    async def repair(client: Client) -> RunSummary:
        handle = client.handle(execution_id)
        await handle.unblock(accept=accept, reset=reset, reason=reason)
        return (await handle.describe()).run

    output.show_one(run(repair), _say_unblocked, _id_of)


again.register(group)


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


def _say_unblocked(record: RunSummary) -> None:
    output.write(f"{record.execution_id} tries again\n")


def _id_of(record: RunSummary) -> str:
    return record.execution_id
