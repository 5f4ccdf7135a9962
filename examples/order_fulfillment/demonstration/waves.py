"""The orders in three parts, so that it is certain what the worker does when it dies."""

from __future__ import annotations

from dataclasses import dataclass

from examples.order_fulfillment.demonstration.shop import PAYMENT
from examples.order_fulfillment.orders import Order

_FATAL_CHARGE = 3


@dataclass(frozen=True, slots=True)
class Waves:
    """The three parts, in the order in which they are started.

    Attributes:
        first: Of all kinds. Their payments are recorded before the next part begins.
        during: Each is charged at its first call, so whichever the kill hits, a charge has taken effect.
        last: The rest, started while no worker lives.
    """

    first: list[Order]
    during: list[Order]
    last: list[Order]

    @staticmethod
    def of(orders: list[Order]) -> Waves:
        """Part the orders."""
        first, rest = orders[: len(orders) // 2], orders[len(orders) // 2 :]
        during = [order for order in rest if order.is_plain][: 2 * _FATAL_CHARGE]
        return Waves(first, during, [order for order in rest if order not in during])

    @property
    def trap(self) -> str:
        """Where the worker dies: after the third charge of `during`, before its record."""
        attempts = sum(order.attempts for order in self.first)
        return f"after-effect:{PAYMENT}#{attempts + _FATAL_CHARGE}"
