"""Names and versions to workflows, from whatever a worker is given."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import pytest

from zart_core import ConfigurationError, Context, DuplicateName, Registry, Step, Workflow, WorkflowNotFound


async def fulfil(order: str) -> str:
    return order


async def other(order: str) -> str:
    return order + order


async def in_context(ctx: Context, order: str) -> str:
    return order


one: Workflow[..., str] = Workflow(fulfil, "order")


def module(**members: Any) -> ModuleType:
    made = ModuleType("shop")
    vars(made).update(members)
    return made


def test_workflows_come_from_workflows_modules_names_and_registries(monkeypatch: pytest.MonkeyPatch) -> None:
    two: Workflow[..., str] = Workflow(other, "two")
    three = Registry()
    three.workflow("three", in_context)
    monkeypatch.setitem(sys.modules, "shop", module(two=two, three=three, something=7))
    registry = Registry.of(one, "shop", Registry.of(module(one=one)))
    assert sorted(workflow.name for workflow in registry) == ["order", "three", "two"]
    assert len(registry) == 3
    assert registry.get("order", "1") is one


def test_an_unknown_workflow_names_those_that_are_known() -> None:
    registry = Registry.of(one)
    for name, version in (("ordr", "1"), ("order", "2")):
        with pytest.raises(WorkflowNotFound, match="known: order"):
            registry.get(name, version)


def test_the_context_is_no_parameter_of_a_workflow_in_the_context_style() -> None:
    workflow = Registry().workflow("order", in_context, timeout="5s", queue="orders", priority=3)
    assert workflow.parameters.names == ("order",)
    assert (workflow.timeout, workflow.queue, workflow.priority) == (5.0, "orders", 3)


def test_adding_the_same_again_does_nothing_and_another_of_its_name_is_refused() -> None:
    registry = Registry.of(one, one, Workflow(fulfil, "order"))
    assert len(registry) == 1
    with pytest.raises(DuplicateName, match="two workflows are named 'order, version 1'"):
        registry.add(Workflow(other, "order"))


def test_of_several_versions_one_is_current() -> None:
    old: Workflow[..., str] = Workflow(other, "order", version="0", current=False)
    registry = Registry.of(one, old)
    assert registry.get("order", "0") is old
    with pytest.raises(ConfigurationError, match="two current versions, 1 and 2"):
        registry.add(Workflow(other, "order", version="2"))


def test_two_steps_of_one_name_are_refused() -> None:
    first: Step[..., str] = Step(fulfil, "charge")
    second: Step[..., str] = Step(other, "charge")
    Registry.of(module(one=one, first=first, again=first))
    with pytest.raises(DuplicateName, match="two steps are named 'charge'"):
        Registry.of(module(one=one, first=first), module(one=one, second=second))


@pytest.mark.parametrize("source", [7, None, fulfil, "no.such.module.anywhere"])
def test_other_sources_are_refused(source: Any) -> None:
    with pytest.raises((ConfigurationError, ModuleNotFoundError)):
        Registry.of(source)


def test_a_module_without_a_workflow_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="module 'shop' has no workflow"):
        Registry.of(module(fulfil=fulfil))
