"""Errors: the tree, their facts, and that they survive pickle and copy."""

from __future__ import annotations

import copy
import pickle
from typing import Any

import pytest

import zart_core
from zart_core import errors
from zart_core.errors import ZartError
from zart_core.records import Failure

FACTS: dict[str, tuple[Any, ...]] = {
    "InvalidText": ("duration", "5 parsecs", 2, "expected a unit"),
    "WorkflowNotFound": ("order", ["pay", "go"]),
    "DuplicateName": ("step", "pay", "a.pay", "b.pay"),
    "SchemaOutOfDate": (None, "0001"),
    "NestedStep": ("sleep()", "pay"),
    "CallReused": ("pay",),
    "CallNotAwaited": ([("pay", "flows.py:7")],),
    "DuplicateKey": ("pay", "k"),
    "ExecutionNotFound": ("x",),
    "ExecutionConflict": ("x", "another input"),
    "ExecutionFailed": ("x", Failure("error", "ValueError", "no", "Traceback ...")),
    "ExecutionCancelled": ("x", "no need"),
    "ExecutionBlocked": ("x", "another kind"),
    "RunFinished": ("x", "completed"),
    "IllegalTransition": ("x", "failed", "cancel"),
    "StepFailed": ("Local", "no", "Traceback ..."),
    "StepTimeout": ("pay", 5.0),
    "EventTimeout": ("shipped", 5.0),
    "WaitTimeout": ("x", 5.0),
    "PayloadTooLarge": ("result of step 'pay'", 20, 10),
}
ALL = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ZartError)),
    key=lambda kind: kind.__name__,
)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_keeps_its_facts_and_its_text_through_pickle_and_copy(kind: type[ZartError]) -> None:
    error = kind(*FACTS.get(kind.__name__, ("x",)))
    for again in (pickle.loads(pickle.dumps(error)), copy.copy(error), copy.deepcopy(error)):
        assert type(again) is kind
        assert (str(again), vars(again), again.args) == (str(error), vars(error), error.args)


def test_every_error_is_exported_and_has_a_code_of_its_own() -> None:
    assert [getattr(zart_core, kind.__name__) for kind in ALL] == ALL
    assert len({kind.code for kind in ALL}) == len(ALL)


@pytest.mark.parametrize(
    "kind", [errors.StepTimeout, errors.EventTimeout, errors.DeadlineExceeded, errors.WaitTimeout]
)
def test_timeouts_are_timeout_errors_and_can_be_raised_without_facts(kind: type[ZartError]) -> None:
    assert isinstance(kind(), TimeoutError)
