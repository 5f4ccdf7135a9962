"""`zart events`: messages to executions."""

from __future__ import annotations

import shlex
from typing import Annotated

import typer

from zart_cli import output
from zart_cli.commands.runs import show_events
from zart_cli.options import DataOpt, ExecutionIdArg, parse_duration
from zart_cli.payload import read_json
from zart_cli.session import run
from zart_cli.verbs import noun, verb
from zart_core import EventReceipt

group = noun("events", "Send events to executions, and list them.")

IdempotencyKeyOpt = Annotated[
    str | None,
    typer.Option("--idempotency-key", help="Sent again with this key, it counts once.", show_default=False),
]


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
    idempotency_key: IdempotencyKeyOpt = None,
) -> None:
    """Send an event to an execution; one that comes before its wait is kept. Without -d its payload is null."""
    payload = None if data is None else read_json(data)
    receipt = run(
        lambda client: client.send_event(execution_id, name, payload, idempotency_key=idempotency_key)
    )
    output.show_one(receipt, lambda record: _tell(record, execution_id), lambda record: record.event_id)


@verb(
    group,
    examples=(
        """zart events broadcast price_changed --key sku-7 -d '{"price": 12}'""",
        "zart events broadcast opened --key store-3 --retain 1h",
    ),
)
def broadcast(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The event's name.", show_default=False)],
    key: Annotated[str, typer.Option("--key", help="What the waits name too.", show_default=False)],
    data: DataOpt = None,
    retain: Annotated[
        float | None,
        typer.Option(
            "--retain",
            metavar="DURATION",
            parser=parse_duration,
            help="For how long later waits take it too, once per execution.",
            show_default="not at all",
        ),
    ] = None,
    idempotency_key: IdempotencyKeyOpt = None,
) -> None:
    """Send an event to all executions that wait for its name and key. Without -d its payload is null."""
    payload = None if data is None else read_json(data)
    receipt = run(
        lambda client: client.broadcast_event(
            name, payload, key=key, retain=retain, idempotency_key=idempotency_key
        )
    )
    output.show_one(receipt, _tell_broadcast, lambda record: record.event_id)


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


def _tell_broadcast(receipt: EventReceipt) -> None:
    if receipt.duplicate:
        what = "was accepted before; nothing was sent again"
    else:
        what = f"was accepted; {receipt.matched or 'no'} wait{'' if receipt.matched == 1 else 's'} had it at once"
    output.write(f"event {receipt.event_id} {what}\n")
