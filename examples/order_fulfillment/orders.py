"""Orders of a file of JSON lines, each with how the customer's card will behave."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

ORDERS = Path(__file__).with_name("orders.jsonl")


@dataclass(frozen=True, slots=True)
class Order:
    """One line. The gateway knows the cards; workflow and worker never see how they will behave.

    Attributes:
        declined: Why the bank says no to the card; None if it does not.
        unavailable: How many calls the gateway fails with 503 before it has an answer.
    """

    order_id: str
    amount: float
    declined: str | None = None
    unavailable: int = 0

    @property
    def is_plain(self) -> bool:
        """Whether the first call charges the card."""
        return self.declined is None and self.unavailable == 0

    @property
    def attempts(self) -> int:
        """How many attempts its payment takes, if nobody dies."""
        return self.unavailable + 1


def read_orders(path: Path = ORDERS) -> list[Order]:
    """Return the orders of a file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [_order(json.loads(line)) for line in lines if line.strip()]


def _order(line: dict[str, object]) -> Order:
    card = line.pop("card", {})
    return Order(**line, **card)  # type: ignore[arg-type] # JSON; a field too many or too few is a TypeError
