from datetime import UTC, datetime
from typing import Any

import pytest

from zart_core import InvalidText, Invocation, PayloadInvalid, UsageError, Workflow
from zart_core.spi import invocation_of, named_arguments, new_run_id, start_request


async def _ship(order_id: str) -> None: ...


ship: Workflow[[str], None] = Workflow(_ship, "ship", version="3", queue="shipping", priority=7)


def _parameters(workflow: Any, **options: Any) -> Any:
    return start_request(workflow, b"{}", options)._asdict()


def test_the_workflows_own_queue_priority_and_version_stand() -> None:
    found = _parameters(ship)
    assert (found["queue"], found["priority"], found["version"]) == ("shipping", 7, "3")
    found = _parameters(ship, queue="fast", priority=0)
    assert (found["queue"], found["priority"]) == ("fast", 0)


def test_by_name_nothing_is_bound() -> None:
    found = _parameters("ship")
    assert (found["queue"], found["priority"], found["version"]) == ("default", 0, "")


def test_none_means_the_default() -> None:
    nothing = dict.fromkeys(("execution_id", "at", "delay", "queue", "priority", "tags", "on_conflict"))
    assert start_request(ship, b"{}", nothing).reject is False


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"execution_id": "a~b"}, "must not contain `~`"),
        ({"priority": 40_000}, "priority must be"),
        ({"priority": True}, "priority must be"),
        ({"queue": ""}, "the name of a queue"),
        ({"at": datetime(2030, 1, 1)}, "with a time zone"),  # noqa: DTZ001 - that is what is refused
        ({"at": datetime.now(UTC), "delay": 1}, "either `delay` or `at`"),
        ({"tags": {"a": 1}}, "tags must be"),
        ({"on_conflict": "replace"}, "'return', 'restart' or 'reject'"),
    ],
)
def test_an_impossible_option_is_refused(options: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        start_request(ship, b"{}", options)


def test_a_bad_delay_shows_its_column() -> None:
    with pytest.raises(InvalidText, match="invalid delay '5 parsecs' at column 2"):
        start_request(ship, b"{}", {"delay": "5 parsecs"})
    assert _parameters(ship, delay="1h30m")["delay"] == 5400.0
    assert _parameters(ship, delay=-1)["delay"] == -1.0


def test_an_unknown_option_is_no_argument_of_the_workflow() -> None:
    with pytest.raises(TypeError, match=r"no option 'note'.*workflow.call"):
        start_request(ship, b"{}", {"note": 1})


def test_a_target_is_a_workflow_an_invocation_or_a_name() -> None:
    assert invocation_of(ship, ("7",)) == Invocation(ship, ("7",), {})
    assert invocation_of("ship", ("7",)) == Invocation("ship", ("7",), {})
    assert invocation_of(ship.call("7"), ()) == Invocation(ship, ("7",), {})
    with pytest.raises(UsageError, match="not to both"):
        invocation_of(ship.call("7"), ("8",))
    for target in (_ship, 7, None):
        with pytest.raises(UsageError, match="decorate an async function with @durable"):
            invocation_of(target, ())


def test_arguments_get_their_names() -> None:
    assert named_arguments("w", ("a", "b"), (1,), {"b": 2}) == {"a": 1, "b": 2}
    assert named_arguments("w", (), (), {"b": 2}) == {"b": 2}
    with pytest.raises(PayloadInvalid, match="takes 1 arguments, 2 were given"):
        named_arguments("w", ("a",), (1, 2), {})
    with pytest.raises(PayloadInvalid, match="a: given by position and by name"):
        named_arguments("w", ("a",), (1,), {"a": 1})


def test_run_ids_are_of_version_7_and_sort_by_time() -> None:
    ids = [new_run_id() for _ in range(1000)]
    assert {(run_id.version, run_id.variant) for run_id in ids} == {(7, "specified in RFC 4122")}
    assert len(set(ids)) == len(ids)
    assert [run_id.int >> 80 for run_id in ids] == sorted(run_id.int >> 80 for run_id in ids)
