"""Errors: the tree, their facts, and that they survive pickle and copy."""

from __future__ import annotations

import copy
import inspect
import pickle
from typing import Any

import pytest

import zart_core
from zart_core import errors
from zart_core.errors import ZartError
from zart_core.records import DivergenceDetails, Failure

DETAILS = DivergenceDetails("ZART-D005", "it waits", "a deploy", None, None, [])

FACTS: dict[str, Any] = {
    "str": "x",
    "str | None": "x",
    "int": 3,
    "float": 2.5,
    "bool": True,
    "Iterable[str]": ["b", "a"],
    "Iterable[tuple[str, str]]": [("pay", "flows.py:7")],
    "DivergenceDetails": DETAILS,
    "DivergenceDetails | None": DETAILS,
    "Failure": Failure("error", "ValueError", "no", "Traceback ..."),
}
"""A fact for each annotation of an error's parameters."""

ALL = sorted(
    (kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ZartError)),
    key=lambda kind: kind.__name__,
)


def facts_of(kind: type[ZartError]) -> list[Any]:
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    return [FACTS[p.annotation] if p.kind is p.POSITIONAL_OR_KEYWORD else "more" for p in parameters]


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_keeps_its_facts_and_its_text_through_pickle_and_copy(kind: type[ZartError]) -> None:
    error = kind(*facts_of(kind))
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
