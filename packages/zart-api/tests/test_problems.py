"""Every error has one status, and a problem says what happened in one form."""

from __future__ import annotations

import inspect

import pytest

from zart_api import problems
from zart_core import errors

CLASSES = [
    kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.ZartError)
]

EXPECTED = {
    "InvalidText": 422,
    "WorkflowNotFound": 404,
    "SchemaOutOfDate": 503,
    "UsageError": 422,
    "ExecutionNotFound": 404,
    "ExecutionConflict": 409,
    "ExecutionBlocked": 409,
    "Divergence": 409,
    "RunFinished": 409,
    "IllegalTransition": 409,
    "PayloadInvalid": 422,
    "PayloadTooLarge": 413,
    "StoreUnavailable": 503,
    "StoreConflict": 422,
    "ConfigurationError": 500,
}


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_every_error_has_a_status(kind: type[errors.ZartError]) -> None:
    assert problems.status_of(kind) in {404, 409, 413, 422, 500, 503}


@pytest.mark.parametrize(("name", "status"), EXPECTED.items())
def test_the_status_of_an_error_is_the_documented_one(name: str, status: int) -> None:
    assert problems.status_of(getattr(errors, name)) == status


def test_a_subclass_has_the_status_of_its_nearest_base() -> None:
    class InputInvalid(errors.PayloadInvalid):
        pass

    assert problems.status_of(InputInvalid) == 422
    assert problems.status_of(errors.NotInRun) == 422


def test_paths_are_written_as_people_write_them() -> None:
    assert problems.path_text(("input", "items", 0, "amount")) == "input.items[0].amount"
    assert problems.path_text(()) == ""
    assert problems.path_text((1,)) == "[1]"


def test_the_summary_names_the_first_error_and_counts_the_others() -> None:
    one = problems.FieldError(path="limit", message="Input should be less than or equal to 200")
    whole = problems.FieldError(path="", message="Field required")
    assert problems.summary([one]) == "limit: Input should be less than or equal to 200"
    assert problems.summary([whole, one]) == "Field required; and 1 more"
