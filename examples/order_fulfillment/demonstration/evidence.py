"""What must be true after the demonstration, judged by the gateway's ledger and the executions' ends.

Pure: it takes what was read and returns figures and violations.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from examples.order_fulfillment.ledger import Entry, Outcome
from examples.order_fulfillment.orders import Order


@dataclass(frozen=True, slots=True)
class Kill:
    """What stood at the moment of the kill.

    Attributes:
        calls: How many calls the ledger held.
        recorded: The orders whose payment had a record in the database.
    """

    calls: int
    recorded: frozenset[str]


@dataclass(frozen=True, slots=True)
class Ending:
    """How an order's execution ended: its state, its result, and the type of its failure."""

    state: str
    result: Mapping[str, Any] | None = None
    failure: str | None = None


@dataclass(frozen=True, slots=True)
class Evidence:
    """All that is judged; `endings` and `tracking` (numbers) are by order id, `ledger` is oldest first."""

    orders: list[Order]
    ledger: list[Entry]
    kill: Kill
    endings: Mapping[str, Ending]
    tracking: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The figures, and what is wrong, a sentence each."""

    paid: int
    charged_once: int
    declined: int
    charged_though_declined: int
    recorded: int
    called_after_record: int
    refused: int
    violations: tuple[str, ...]


def judge(evidence: Evidence) -> Verdict:
    """Return the figures and every violation."""
    charges = charges_by_order(evidence.ledger)
    paid = [order for order in evidence.orders if order.declined is None]
    declined = [order for order in evidence.orders if order.declined is not None]
    late = [
        entry for entry in evidence.ledger[evidence.kill.calls :] if entry.order_id in evidence.kill.recorded
    ]
    return Verdict(
        paid=len(paid),
        charged_once=sum(len(charges[order.order_id]) == 1 for order in paid),
        declined=len(declined),
        charged_though_declined=sum(len(charges[order.order_id]) for order in declined),
        recorded=len(evidence.kill.recorded),
        called_after_record=len(late),
        refused=len(refused_repeats(evidence.ledger)),
        violations=tuple(_violations(evidence, paid, declined, late)),
    )


def charges_by_order(ledger: list[Entry]) -> Mapping[str, list[Entry]]:
    """Return the charges that were made for each order; an order without any has an empty list."""
    charges: dict[str, list[Entry]] = defaultdict(list)
    for entry in ledger:
        if entry.outcome is Outcome.CHARGED:
            charges[entry.order_id].append(entry)
    return charges


def refused_repeats(ledger: list[Entry]) -> list[Entry]:
    """Return the calls that asked again for a charge that had been made, and were refused by their key."""
    return [
        entry for entry in ledger if entry.outcome is Outcome.REPEATED and entry.transaction_id is not None
    ]


def _violations(
    evidence: Evidence, paid: list[Order], declined: list[Order], late: list[Entry]
) -> Iterator[str]:
    charges = charges_by_order(evidence.ledger)
    for order in paid:
        yield from _wrong_with_paid(order, charges[order.order_id], evidence)
    for order in declined:
        yield from _wrong_with_declined(order, charges[order.order_id], evidence)
    for entry in late:
        yield f"order {entry.order_id}: its payment was recorded before the kill, yet the gateway was called again"
    known = {order.order_id for order in evidence.orders}
    for entry in evidence.ledger:
        if entry.order_id not in known or entry.outcome is Outcome.CONFLICT:
            yield f"order {entry.order_id}: the gateway got a call that nobody should make ({entry.outcome})"
    if not evidence.kill.recorded:
        yield "no payment was recorded before the kill, so it shows nothing"
    if not refused_repeats(evidence.ledger):
        yield "no call was repeated and refused by its key: the kill hit no payment between charge and record"


def _wrong_with_paid(order: Order, charges: list[Entry], evidence: Evidence) -> Iterator[str]:
    if len(charges) != 1:
        yield f"order {order.order_id}: its card was charged {len(charges)} times instead of once"
        return
    charge = charges[0]
    if charge.amount != order.amount:
        yield f"order {order.order_id}: {charge.amount} was charged instead of {order.amount}"
    ending = evidence.endings[order.order_id]
    receipt = {
        "order_id": order.order_id,
        "transaction_id": charge.transaction_id,
        "tracking_number": evidence.tracking.get(order.order_id),
    }
    if ending.state != "completed":
        yield f"order {order.order_id}: paid, but {ending.state} ({ending.failure})"
    elif ending.result != receipt:
        yield f"order {order.order_id}: its receipt is {ending.result} instead of {receipt}"


def _wrong_with_declined(order: Order, charges: list[Entry], evidence: Evidence) -> Iterator[str]:
    if charges:
        yield f"order {order.order_id}: its card was declined, yet charged {len(charges)} times"
    ending = evidence.endings[order.order_id]
    if (ending.state, ending.failure) != ("failed", "CardDeclined"):
        told = f"{ending.state} ({ending.failure})"
        yield f"order {order.order_id}: its card was declined, but it is {told} instead of failed with CardDeclined"
