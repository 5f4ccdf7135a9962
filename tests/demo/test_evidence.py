"""The demonstration's judge: whatever must never happen is found when it is planted."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from examples.order_fulfillment.demonstration.evidence import Ending, Evidence, Kill, judge
from examples.order_fulfillment.ledger import Entry, Outcome
from examples.order_fulfillment.orders import Order

GOOD, CAUGHT, DECLINED = (
    Order("good", 10.0),
    Order("caught", 20.0),
    Order("declined", 30.0, declined="stolen"),
)


def _entry(order: Order, outcome: Outcome, attempt: int = 1) -> Entry:
    paid = outcome in {Outcome.CHARGED, Outcome.REPEATED}
    transaction = f"txn-{order.order_id}" if paid else None
    return Entry(
        "2030-01-01T00:00:00+00:00",
        order.order_id,
        order.amount,
        f"key-{order.order_id}",
        attempt,
        outcome,
        transaction,
    )


def _completed(order: Order) -> Ending:
    receipt = {"order_id": order.order_id, "transaction_id": f"txn-{order.order_id}", "tracking_number": "1Z"}
    return Ending("completed", receipt)


@pytest.fixture
def evidence() -> Evidence:
    """As it is when all is well: one payment recorded before the kill, one caught between charge and record."""
    return Evidence(
        orders=[GOOD, CAUGHT, DECLINED],
        ledger=[
            _entry(GOOD, Outcome.CHARGED),
            _entry(CAUGHT, Outcome.CHARGED),
            _entry(CAUGHT, Outcome.REPEATED, 2),
            _entry(DECLINED, Outcome.DECLINED),
        ],
        kill=Kill(2, frozenset({"good"})),
        endings={
            "good": _completed(GOOD),
            "caught": _completed(CAUGHT),
            "declined": Ending("failed", None, "CardDeclined"),
        },
        tracking={"good": "1Z", "caught": "1Z"},
    )


def test_four_figures_are_told_when_all_is_well(evidence: Evidence) -> None:
    verdict = judge(evidence)
    assert verdict.violations == ()
    assert (verdict.paid, verdict.charged_once) == (2, 2)
    assert (verdict.declined, verdict.charged_though_declined) == (1, 0)
    assert (verdict.recorded, verdict.called_after_record) == (1, 0)
    assert verdict.refused == 1


def _and(*more: Entry) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, ledger=[*evidence.ledger, *more])


def _without(outcome: Outcome) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, ledger=[e for e in evidence.ledger if e.outcome is not outcome])


def _ended(order: Order, ending: Ending) -> Callable[[Evidence], Evidence]:
    return lambda evidence: replace(evidence, endings={**evidence.endings, order.order_id: ending})


def _receipt(**facts: Any) -> Ending:
    return Ending("completed", {**(_completed(GOOD).result or {}), **facts})


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (_and(_entry(CAUGHT, Outcome.CHARGED, 3)), "order caught: its card was charged 2 times instead of once"),
        (_without(Outcome.CHARGED), "order good: its card was charged 0 times instead of once"),
        (_and(_entry(DECLINED, Outcome.CHARGED, 2)), "order declined: its card was declined, yet charged 1 times"),
        (_and(_entry(GOOD, Outcome.REPEATED, 2)), "order good: its payment was recorded before the kill"),
        (_and(_entry(GOOD, Outcome.UNAVAILABLE, 2)), "order good: its payment was recorded before the kill"),
        (_without(Outcome.REPEATED), "no call was repeated and refused by its key"),
        (_and(_entry(Order("stray", 1.0), Outcome.CHARGED)), "order stray: the gateway got a call that nobody should"),
        (_and(_entry(CAUGHT, Outcome.CONFLICT, 3)), "order caught: the gateway got a call that nobody should make"),
        (lambda e: replace(e, kill=Kill(2, frozenset())), "no payment was recorded before the kill"),
        (_ended(GOOD, Ending("failed", None, "ValueError")), r"order good: paid, but failed \(ValueError\)"),
        (_ended(GOOD, _receipt(transaction_id="txn-other")), "order good: its receipt is"),
        (_ended(GOOD, _receipt(tracking_number="2Z")), "order good: its receipt is"),
        (_ended(DECLINED, _completed(DECLINED)), "order declined: its card was declined, but it is completed"),
        (_ended(DECLINED, Ending("failed", None, "StepFailed")), r"but it is failed \(StepFailed\) instead of"),
    ],
)  # fmt: skip
def test_a_planted_violation_is_found(
    evidence: Evidence, plant: Callable[[Evidence], Evidence], said: str
) -> None:
    violations = "\n".join(judge(plant(evidence)).violations)
    assert re.search(said, violations), violations


def test_a_charge_of_another_amount_is_found(evidence: Evidence) -> None:
    evidence.ledger[0] = replace(evidence.ledger[0], amount=11.0)
    assert judge(evidence).violations == ("order good: 11.0 was charged instead of 10.0",)
