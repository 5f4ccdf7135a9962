"""The demonstration's judge: whatever must never happen is found when it is planted."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from examples.order_fulfillment.demonstration import __main__ as demonstration
from examples.order_fulfillment.demonstration.evidence import Ending, Evidence, Kill, judge
from examples.order_fulfillment.ledger import Entry, Outcome
from examples.order_fulfillment.orders import Order
from examples.stage.place import Place
from tests.demo.conftest import CAUGHT, DECLINED, GOOD, completed, entry

Plant: TypeAlias = Callable[[Evidence], Evidence]
STRAY = Order("stray", 1.0)


def _and(order: Order, outcome: Outcome) -> Plant:
    return lambda evidence: replace(evidence, ledger=[*evidence.ledger, entry(order, outcome, 9)])


def _without(outcome: Outcome) -> Plant:
    return lambda evidence: replace(evidence, ledger=[e for e in evidence.ledger if e.outcome is not outcome])


def _changed(old: Entry, **facts: float) -> Plant:
    def plant(evidence: Evidence) -> Evidence:
        new = replace(old, **facts)  # type: ignore[arg-type] # the names are an Entry's
        return replace(evidence, ledger=[new if e == old else e for e in evidence.ledger])

    return plant


def _ended(order: Order, ending: Ending) -> Plant:
    return lambda evidence: replace(evidence, endings={**evidence.endings, order.order_id: ending})


def test_four_figures_are_told_when_all_is_well(evidence: Evidence) -> None:
    verdict = judge(evidence)
    assert verdict.violations == ()
    assert (verdict.paid, verdict.charged_once) == (2, 2)
    assert (verdict.declined, verdict.charged_though_declined) == (1, 0)
    assert (verdict.recorded, verdict.called_after_record) == (1, 0)
    assert verdict.refused == 1


@pytest.mark.parametrize(
    ("plant", "said"),
    [
        (_and(CAUGHT, Outcome.CHARGED), "order caught: its card was charged 2 times instead of once"),
        (_without(Outcome.CHARGED), "order good: its card was charged 0 times instead of once"),
        (_changed(entry(GOOD, Outcome.CHARGED), amount=11.0), "order good: 11.0 was charged instead of 10.0"),
        (_and(DECLINED, Outcome.CHARGED), "order declined: its card was declined, yet charged 1 times"),
        (
            _and(GOOD, Outcome.REPEATED),
            "order good: its payment was recorded before the kill, yet the gateway",
        ),
        (
            _and(GOOD, Outcome.UNAVAILABLE),
            "order good: its payment was recorded before the kill, yet the gateway",
        ),
        (_without(Outcome.REPEATED), "no call was repeated and refused by its key"),
        (_and(STRAY, Outcome.CHARGED), "order stray: the gateway got a call that nobody should make"),
        (_and(CAUGHT, Outcome.CONFLICT), "order caught: the gateway got a call that nobody should make"),
        (lambda e: replace(e, kill=Kill(2, frozenset())), "no payment was recorded before the kill"),
        (_ended(GOOD, Ending("failed", None, "ValueError")), r"order good: paid, but failed \(ValueError\)"),
        (_ended(GOOD, completed(GOOD, transaction_id="txn-2")), "order good: its receipt is"),
        (_ended(GOOD, completed(GOOD, tracking_number="2Z")), "order good: its receipt is"),
        (_ended(DECLINED, completed(DECLINED)), "order declined: its card was declined, but it is completed"),
        (
            _ended(DECLINED, Ending("failed", None, "StepFailed")),
            r"but it is failed \(StepFailed\) instead of",
        ),
    ],
)
def test_a_planted_violation_is_found(evidence: Evidence, plant: Plant, said: str) -> None:
    violations = "\n".join(judge(plant(evidence)).violations)
    assert re.search(said, violations), violations


def test_a_violation_is_told_and_makes_the_exit_status_1(
    evidence: Evidence, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Planted:
        def __init__(self, *_: object) -> None:
            pass

        def perform(self) -> Evidence:
            return _and(CAUGHT, Outcome.CHARGED)(evidence)

    @contextmanager
    def place(*_: object) -> Iterator[Place]:
        (tmp_path / "logs").mkdir()
        yield Place(tmp_path, "postgresql://")

    monkeypatch.setattr(demonstration, "Story", Planted)
    monkeypatch.setattr(demonstration, "place", place)
    assert demonstration.main() == 1
    told = capsys.readouterr()
    assert "1 of 2  paid orders charged exactly once" in told.out
    assert "Every card" not in told.out
    assert "order caught: its card was charged 2 times instead of once" in told.err
