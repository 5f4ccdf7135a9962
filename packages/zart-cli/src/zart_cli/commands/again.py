"""`zart runs restart`, `rerun`, `fork` and `retry-step`: run an execution again, whole or in part."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from zart_cli import output
from zart_cli.options import DataOpt, ExecutionIdArg, ReasonOpt
from zart_cli.payload import read_json
from zart_cli.reporting import say
from zart_cli.session import run
from zart_cli.verbs import verb
from zart_core import RunSummary

if TYPE_CHECKING:
    from zart_scheduler import Client, Handle

    Action = Callable[[Handle[Any]], Awaitable[Handle[Any]]]

StepsOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--steps",
        metavar="GLOB",
        help="Run these again; may be repeated.",
        show_default="what failed and all after",
    ),
]
KeepOpt = Annotated[
    list[str] | None,
    typer.Option(
        "--keep",
        metavar="GLOB",
        help="Keep what these have recorded, also if --steps names them; without --steps all others run again.",
        show_default=False,
    ),
]
FromOpt = Annotated[
    str, typer.Option("--from", metavar="STEP", help="The first step that runs.", show_default=False)
]
NewIdOpt = Annotated[
    str | None, typer.Option("--id", help="The new execution's id.", show_default="a new one")
]
StepOpt = Annotated[
    str | None,
    typer.Option(
        "--step", metavar="STEP", help="The step to try.", show_default="the one that failed the run"
    ),
]


def register(group: typer.Typer) -> None:
    """Add the commands."""
    verb(group, examples=('zart runs restart order-7 --reason "prices were wrong"',))(restart)
    examples = ("zart runs rerun order-7", "zart runs rerun order-7 --steps 'ship*' --keep ship-label")
    verb(group, examples=examples)(rerun)
    verb(group, examples=("zart runs fork order-7 --from pay --id order-7-test",))(fork)
    verb(group, "retry-step", examples=("zart runs retry-step order-7",))(retry_step)


def restart(execution_id: ExecutionIdArg, reason: ReasonOpt = None) -> None:
    """Begin again from scratch, with a new run of the same input.

    A run that is being worked on is taken from its worker and ends as cancelled. Events that it consumed are not seen
    again. zart runs start --on-conflict restart takes another input.
    """
    _show(_after(execution_id, lambda handle: handle.restart(reason=reason)))


def rerun(
    execution_id: ExecutionIdArg, steps: StepsOpt = None, keep: KeepOpt = None, reason: ReasonOpt = None
) -> None:
    """Run some steps again, in a new run that keeps what the others have recorded.

    Steps that failed always run again. Names of kept steps that came after one that runs again go to stderr: they may
    have used its old result.
    """
    _show(
        _after(execution_id, lambda handle: handle.rerun(steps=steps, keep=keep, reason=reason, warn=False))
    )


def fork(
    execution_id: ExecutionIdArg,
    from_step: FromOpt,
    new_id: NewIdOpt = None,
    data: DataOpt = None,
    reason: ReasonOpt = None,
) -> None:
    """Start another execution that has done what this one did before a step, and print its id.

    -d is another input for it, as for zart runs start.
    """
    other = None if data is None else read_json(data)
    forked = _after(
        execution_id,
        lambda handle: handle.fork(from_step=from_step, execution_id=new_id, input=other, reason=reason),
    )
    output.show_one(forked, lambda record: output.write(f"{record.execution_id}\n"), _id_of)


def retry_step(execution_id: ExecutionIdArg, step: StepOpt = None, reason: ReasonOpt = None) -> None:
    """Open a failed run again for one more try of the step that failed it, with a new deadline."""
    _show(_after(execution_id, lambda handle: handle.retry_step(step, reason=reason)))


def _after(execution_id: str, action: Action) -> RunSummary:
    """Do `action` and return the run that came of it."""

    async def act(client: Client) -> tuple[tuple[str, ...], RunSummary]:
        handle = await action(client.handle(execution_id))
        return handle.doubtful, (await handle.runs())[-1]

    doubtful, record = run(act)
    if doubtful:
        say(f"kept, though they came after a step that runs again: {', '.join(doubtful)}")
    return record


def _show(record: RunSummary) -> None:
    output.show_one(record, _say, _id_of)


def _say(record: RunSummary) -> None:
    output.write(f"{record.execution_id} is {record.state}, in run {record.run_index}\n")


def _id_of(record: RunSummary) -> str:
    return record.execution_id
