"""What was counted, for people."""

from __future__ import annotations

from collections.abc import Iterator

from examples.order_fulfillment.demonstration.evidence import Verdict


def figures(verdict: Verdict) -> Iterator[str]:
    """Yield the four figures that were checked, a line each."""
    rows = (
        (f"{verdict.charged_once} of {verdict.paid}", "paid orders charged exactly once"),
        (f"{verdict.charged_though_declined}", f"charges to the {verdict.declined} declined cards"),
        (
            f"{verdict.called_after_record}",
            f"calls for the {verdict.recorded} payments recorded before the kill",
        ),
        (f"{verdict.refused}", "repeated calls, refused by their idempotency key"),
    )
    for figure, what in rows:
        yield f"  {figure:>8}  {what}"
