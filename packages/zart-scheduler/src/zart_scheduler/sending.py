"""Sending an event to an execution."""

from __future__ import annotations

from typing import Any

from zart_core import EventReceipt
from zart_core.spi import Delivered, check_id, check_word, encode_plain, receipt
from zart_scheduler.access import Access
from zart_scheduler.store import executions
from zart_scheduler.store.statement import Statement


def event_statement(
    execution_id: str, name: str, payload: Any, idempotency_key: str | None
) -> Statement[Delivered]:
    """Return the statement that sends an event.

    Raises:
        UsageError: The name or the key cannot be.
        PayloadInvalid: The payload cannot be written as JSON.
        PayloadTooLarge: It takes more than 16 MiB.
    """
    check_word("event", name)
    if idempotency_key is not None:
        check_id("an idempotency key", idempotency_key, tilde=True)
    stored = encode_plain(payload, f"payload of event {name!r}")
    return executions.deliver(execution_id, name, payload=stored, key=idempotency_key)


async def send_event(
    access: Access,
    execution_id: str,
    name: str,
    payload: Any,
    *,
    idempotency_key: str | None,
    conn: object,
) -> EventReceipt:
    """Send an event, by itself or as a part of the caller's transaction on `conn`."""
    statement = event_statement(execution_id, name, payload, idempotency_key)
    # Without a key, sending twice would be two events.
    answer = await access.change(statement, conn, repeatable=idempotency_key is not None)
    return receipt(execution_id, name, answer)
