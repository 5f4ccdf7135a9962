"""Broadcasting an event to all who wait for its topic, which is a name and a key."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from zart_core import EventReceipt, StoreConflict, StoreError
from zart_core.spi import Duration, check_id, check_word, encode_plain, seconds
from zart_scheduler.access import Access
from zart_scheduler.store import executions
from zart_scheduler.store.executions import Broadcast
from zart_scheduler.store.statement import Statement

log = logging.getLogger("zart")

BATCH = 500
"""Most waits that one transaction meets."""

PATIENCE = 1.0
"""Seconds for which a sender tries to meet waits whose runs somebody holds; then a worker does it."""

PAUSE = 0.01
"""Seconds between two tries."""


def broadcast_statement(
    name: str, payload: Any, *, key: str, retain: Duration | None, idempotency_key: str | None, alone: bool
) -> Statement[Broadcast]:
    """Return the statement that accepts a broadcast.

    Raises:
        UsageError: The name or a key cannot be.
        PayloadInvalid: The payload cannot be written as JSON.
        PayloadTooLarge: It takes more than 16 MiB.
    """
    check_word("event", name)
    check_id("the key of an event", key, tilde=True)
    if idempotency_key is not None:
        check_id("an idempotency key", idempotency_key, tilde=True)
    return executions.broadcast(
        name,
        key,
        payload=encode_plain(payload, f"payload of event {name!r}"),
        idem_key=idempotency_key,
        retain=None if retain is None else seconds(retain, what="retain"),
        alone=alone,
    )


async def broadcast_event(
    access: Access,
    name: str,
    payload: Any,
    *,
    key: str,
    retain: Duration | None,
    idempotency_key: str | None,
    conn: object,
) -> EventReceipt:
    """Broadcast an event, by itself or as a part of the caller's transaction on `conn`."""
    statement = broadcast_statement(
        name, payload, key=key, retain=retain, idempotency_key=idempotency_key, alone=conn is None
    )
    # Without a key, sending twice would be two events.
    answer = await access.change(statement, conn, repeatable=idempotency_key is not None)
    check_answer(name, key, answer)
    return broadcast_receipt(answer, await _met(access, answer.event_id) if conn is None else 0)


def check_answer(name: str, key: str, answer: Broadcast) -> None:
    """Refuse what was not accepted.

    Raises:
        StoreConflict: The idempotency key was used for another payload.
    """
    if answer.status == "mismatch":
        raise StoreConflict(
            f"the idempotency key of event {name!r} was used before, for key {key!r}, with another payload; "
            f"a key belongs to one event"
        )


def broadcast_receipt(answer: Broadcast, matched: int) -> EventReceipt:
    """Return the receipt of a broadcast that has met `matched` waits so far."""
    return EventReceipt(str(answer.event_id), answer.status == "duplicate", matched > 0, matched)


async def _met(access: Access, event_id: int) -> int:
    """Meet the open waits, and return how many have the event. It is accepted: nothing here is an error any more."""
    try:
        await _meet_waits(access, event_id)
        return await access.read(executions.count_uses(event_id))
    except StoreError as error:
        log.warning("event %d is accepted; the waits for it are met by a worker: %s", event_id, error)
        return 0


async def _meet_waits(access: Access, event_id: int) -> None:
    """Meet the waits that a broadcast is for, in bounded transactions."""
    loop = asyncio.get_running_loop()
    ends_at, fewest = loop.time() + PATIENCE, None
    while skipped := await _meet_once(access, event_id):
        if fewest is None or skipped < fewest:
            ends_at, fewest = loop.time() + PATIENCE, skipped
        if loop.time() >= ends_at:
            return
        await asyncio.sleep(PAUSE)


async def _meet_once(access: Access, event_id: int) -> int:
    """Go once over all waits; return how many were skipped, since somebody holds their runs."""
    after: int | None = 0
    total = 0
    while after is not None:
        after, skipped = await access.change(executions.meet_broadcast(event_id, after, BATCH))
        total += skipped
    return total
