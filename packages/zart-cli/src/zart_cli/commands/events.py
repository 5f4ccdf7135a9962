"""`zart events`: messages to executions."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from zart_cli import output
from zart_cli.commands.runs import show_events
from zart_cli.options import DataOpt, ExecutionIdArg
from zart_cli.payload import read_json
from zart_cli.session import run
from zart_cli.verbs import noun, verb
from zart_core import EventReceipt

group = noun("events", "Send events to executions, and list them.")


@verb(
    group,
    examples=(
        """zart events send order-7 shipment_ready -d '{"tracking_number": "1Z999"}'""",
        "zart events send order-7 shipment_ready -d @shipment.json --idempotency-key evt-42",
    ),
)
def send(
    execution_id: ExecutionIdArg,
    name: Annotated[str, typer.Argument(metavar="NAME", help="The event's name.", show_default=False)],
    data: DataOpt = None,
    idempotency_key: Annotated[
        str | None,
        typer.Option(
            "--idempotency-key", help="Sent again with this key, it counts once.", show_default=False
        ),
    ] = None,
) -> None:
    """Send an event to an execution; one that comes before its wait is kept. Without -d its payload is null."""
    payload = None if data is None else read_json(data)
    receipt = run(
        lambda client: client.send_event(execution_id, name, payload, idempotency_key=idempotency_key)
    )
    output.show_one(receipt, lambda record: _tell(record, execution_id), lambda record: record.event_id)


@verb(group, "list")
def list_(execution_id: ExecutionIdArg) -> None:
    """List the events that were sent to an execution."""
    show_events(execution_id)


def _tell(receipt: EventReceipt, execution_id: str) -> None:
    if receipt.duplicate:
        what = "was accepted before; nothing was sent again"
    elif receipt.waiting:
        what = f"was accepted and {shlex.quote(execution_id)} goes on with it"
    else:
        what = "was accepted; nobody waits for it yet, so it is kept"
    output.write(f"event {receipt.event_id} {what}\n")
