"""`zart runs start`."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from zart_cli import output
from zart_cli.commands import outcomes
from zart_cli.options import DataOpt, TagsOpt, WaitTimeoutOpt, parse_duration, parse_future_moment, tags_of
from zart_cli.payload import read_json
from zart_cli.reporting import say
from zart_cli.session import run
from zart_cli.verbs import verb
from zart_core import RunSummary

if TYPE_CHECKING:
    from zart_scheduler import Client


class OnConflict(StrEnum):
    """What a start of an existing execution does."""

    RETURN = "return"
    RESTART = "restart"
    REJECT = "reject"


NameArg = Annotated[
    str, typer.Argument(metavar="NAME", help="The workflow's registered name.", show_default=False)
]
IdOpt = Annotated[
    str | None,
    typer.Option(
        "--id", help="The execution's id: starting it again returns the same one.", show_default="a new one"
    ),
]
QueueOpt = Annotated[
    str | None, typer.Option("--queue", help="The queue to put it in.", show_default="default")
]
PriorityOpt = Annotated[
    int | None, typer.Option("--priority", help="Higher numbers first.", show_default="0")
]
DelayOpt = Annotated[
    float | None,
    typer.Option(
        "--delay",
        metavar="DURATION",
        parser=parse_duration,
        help="Begin that much later.",
        show_default=False,
    ),
]
AtOpt = Annotated[
    datetime | None,
    typer.Option("--at", metavar="TIME", parser=parse_future_moment, help="Begin then.", show_default=False),
]
WaitOpt = Annotated[bool, typer.Option("--wait", help="Wait for the result, as zart runs wait does.")]
ConflictOpt = Annotated[
    OnConflict,
    typer.Option(
        "--on-conflict",
        help="If the execution exists: return it, restart it with this input, or refuse with exit code 5.",
    ),
]
AllowUnknownOpt = Annotated[
    bool,
    typer.Option(
        "--allow-unknown",
        help="Also if no worker has registered the name yet; the input is not checked then.",
    ),
]


def register(group: typer.Typer) -> None:
    """Add the command."""
    examples = (
        """zart runs start order-fulfillment --id order-7 -d '{"order_id": "7", "amount": 12.5}'""",
        "zart runs start report -d @input.json --wait",
    )
    verb(group, examples=examples)(start)


def start(
    name: NameArg,
    data: DataOpt = None,
    execution_id: IdOpt = None,
    queue: QueueOpt = None,
    priority: PriorityOpt = None,
    delay: DelayOpt = None,
    at: AtOpt = None,
    tag: TagsOpt = None,
    wait: WaitOpt = False,
    timeout: WaitTimeoutOpt = None,
    on_conflict: ConflictOpt = OnConflict.RETURN,
    allow_unknown: AllowUnknownOpt = False,
) -> None:
    """Start an execution and print its id.

    -d is the JSON of the workflow's only parameter, or an object by parameter name if it has several. It is checked
    against what the workers have registered before anything is started.
    """
    if timeout is not None and not wait:
        raise typer.BadParameter("goes with --wait", param_hint="--timeout")
    if at is not None and delay is not None:
        raise typer.BadParameter("say --at or --delay, not both", param_hint="--at")
    given = () if data is None else (read_json(data),)
    tags = tags_of(tag)

    async def begin(client: Client) -> tuple[bool, RunSummary]:
        handle = await client.start_input(
            name,
            *given,
            allow_unknown=allow_unknown,
            execution_id=execution_id,
            at=at,
            delay=delay,
            queue=queue,
            priority=priority,
            tags=tags,
            on_conflict=on_conflict.value,
        )
        return bool(handle.existing), (await handle.describe()).run

    existing, started = run(begin)
    if existing and on_conflict is OnConflict.RESTART:
        say(
            f"execution {started.execution_id} existed already and begins again, with run {started.run_index}"
        )
        existing = False
    _show(existing, started, wait=wait, timeout=timeout)


def _show(existing: bool, started: RunSummary, *, wait: bool, timeout: float | None) -> None:
    if existing:
        say(f"execution {started.execution_id} exists already with this input; it is {started.state}")
    elif wait:
        say(f"started {started.execution_id}")
    if wait:
        outcomes.wait_for_result(started.execution_id, timeout)
    else:
        output.show_one(
            started,
            lambda record: output.write(f"{record.execution_id}\n"),
            lambda record: record.execution_id,
        )
