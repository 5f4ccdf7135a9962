import pytest
import typer

from zart_cli.exitcodes import ExitCode
from zart_cli.problems import CheckFailed, ImportFailed, problem_of
from zart_core import Failure, errors

FAILURE = Failure("error", "CardDeclined", "no funds")
CASES: list[tuple[BaseException, ExitCode]] = [
    (errors.WorkflowNotFound("ship", ["pay", "order"]), ExitCode.NOT_FOUND),
    (errors.ExecutionNotFound("o-1"), ExitCode.NOT_FOUND),
    (errors.SchemaOutOfDate("0001", "0002"), ExitCode.CHECK_FAILED),
    (CheckFailed("behind"), ExitCode.CHECK_FAILED),
    (errors.ConfigurationError("no database"), ExitCode.USAGE),
    (errors.InvalidText("duration", "abc", 1, "expected"), ExitCode.USAGE),
    (errors.DuplicateName("step", "pay", "a", "b"), ExitCode.USAGE),
    (errors.UsageError("an id must"), ExitCode.USAGE),
    (errors.PayloadInvalid("order.amount: not a number"), ExitCode.USAGE),
    (errors.PayloadTooLarge("input", 2, 1), ExitCode.USAGE),
    (errors.ExecutionConflict("o-1", "another input"), ExitCode.CONFLICT),
    (errors.RunFinished("o-1", "completed"), ExitCode.CONFLICT),
    (errors.IllegalTransition("o-1", "completed", "cancel"), ExitCode.CONFLICT),
    (errors.StoreConflict("key used again"), ExitCode.CONFLICT),
    (errors.StoreUnavailable("refused"), ExitCode.UNREACHABLE),
    (errors.ExecutionFailed("o-1", FAILURE), ExitCode.RUN_FAILED),
    (errors.ExecutionCancelled("o-1"), ExitCode.RUN_CANCELLED),
    (errors.ExecutionBlocked("o-1", "diverged"), ExitCode.RUN_BLOCKED),
    (errors.WaitTimeout("o-1", 5), ExitCode.WAIT_TIMED_OUT),
    (errors.WaitTimeout("o-1", 0), ExitCode.WAIT_TIMED_OUT),
    (KeyboardInterrupt(), ExitCode.INTERRUPTED),
    (typer.BadParameter("no"), ExitCode.USAGE),
    (ImportFailed("flows", "Traceback"), ExitCode.UNEXPECTED),
    (errors.StoreError("odd"), ExitCode.UNEXPECTED),
    (RuntimeError("odd"), ExitCode.UNEXPECTED),
]


@pytest.mark.parametrize(
    ("error", "code"), CASES, ids=lambda value: getattr(value, "name", type(value).__name__)
)
def test_each_error_has_its_exit_code(error: BaseException, code: ExitCode) -> None:
    assert problem_of(error).exit_code is code


@pytest.mark.parametrize(
    ("error", "code"), CASES, ids=lambda value: getattr(value, "name", type(value).__name__)
)
def test_each_error_is_one_line_and_a_hint_at_most(error: BaseException, code: ExitCode) -> None:
    problem = problem_of(error)
    assert problem.detail
    assert "\n" not in problem.detail + (problem.hint or "")


def test_an_unknown_workflow_is_told_with_the_registered_ones() -> None:
    problem = problem_of(errors.WorkflowNotFound("ship", ["pay", "order"]))
    assert "order, pay" in problem.detail
    assert problem.hint is not None
    assert "zart workflows list" in problem.hint


def test_hints_can_be_pasted_into_a_shell() -> None:
    assert problem_of(errors.WaitTimeout("my order; rm", 5)).hint == (
        "zart runs show 'my order; rm'  tells what it waits for"
    )


def test_a_problem_has_the_fields_of_http() -> None:
    found = problem_of(errors.ExecutionNotFound("a/b")).to_json()
    assert found == {
        "type": "urn:zart:problem:ZART-E002",
        "title": "Execution not found",
        "status": 404,
        "detail": "no execution 'a/b'",
        "instance": "/v1/executions/a%2Fb",
        "code": "ZART-E002",
        "exit_code": 4,
        "hint": "zart runs list  shows those there are",
    }


def test_exit_codes_are_the_published_ones() -> None:
    assert {code.name: int(code) for code in ExitCode} == {
        "OK": 0,
        "UNEXPECTED": 1,
        "USAGE": 2,
        "CHECK_FAILED": 3,
        "NOT_FOUND": 4,
        "CONFLICT": 5,
        "UNREACHABLE": 6,
        "UNAUTHORISED": 7,
        "RUN_FAILED": 10,
        "RUN_CANCELLED": 11,
        "RUN_BLOCKED": 12,
        "WAIT_TIMED_OUT": 124,
        "INTERRUPTED": 130,
    }
