"""What `describe()` tells: steps in order with their attempts, and what a run waits for."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest
from tests.support.histories import end, execute, park

from zart_core import DeadlineExceeded, RunState, StepState, StepTimeout
from zart_core.spi import record
from zart_scheduler import Client, Handle, call

pytestmark = pytest.mark.anyio

STEPS = """
INSERT INTO zart_steps (run_id, ident, seq, kind, outcome, turn, wake_at, attempt, started_at, completed_at, payload)
VALUES (%s::uuid, %s, %s, %s, %s, %s, clock_timestamp() + %s::interval, %s, now(), now() + interval '1 s', %s)
"""
ATTEMPTS = """
INSERT INTO zart_step_attempts (run_id, ident, attempt, kind, started_at, ended_at, next_at, deadline_at, error)
VALUES (%s::uuid, %s, %s, 's', now(), now() + interval '1 s', clock_timestamp() + %s::interval,
        clock_timestamp() + %s::interval, %s)
"""


@pytest.fixture
async def client(database_url: str) -> AsyncIterator[Client]:
    async with Client(database_url) as client:
        yield client


@pytest.fixture
async def handle(client: Client) -> Handle[Any]:
    return await client.start(call("flow", a=1), execution_id="x", tags={"k": "v"})


async def test_steps_are_told_in_the_order_of_the_calls(handle: Handle[Any], database_url: str) -> None:
    run_id = park(database_url, "x")
    execute(database_url, STEPS, run_id, ".0.1:charge%23#=key", 2, "s", "o", 2, None, 1, b'{"b":1}')
    execute(database_url, STEPS, run_id, ":validate#0", 1, "c", "o", 1, None, 1, b'"ok"')
    execute(database_url, STEPS, run_id, ":ship#0", 3, "w", "c", 3, None, 1, None)
    execute(database_url, STEPS, run_id, ":nap#0", 4, "z", "o", 5, "-1 hour", 1, None)
    steps = (await handle.describe()).steps
    assert [(step.name, step.scope, step.kind, step.key, step.state) for step in steps] == [
        ("validate", "", "capture", None, StepState.COMPLETED),
        ("charge#", ".0.1", "step", "key", StepState.COMPLETED),
        ("ship", "", "event", None, StepState.CANCELLED),
        ("nap", "", "sleep", None, StepState.COMPLETED),
    ]
    charge = steps[1]
    assert charge.result == {"b": 1}
    assert [attempt.number for attempt in charge.attempts] == [1]
    assert charge.completed_at is not None
    assert charge.started_at is not None
    assert charge.completed_at - charge.started_at == timedelta(seconds=1)


async def test_failed_attempts_stand_with_their_step(handle: Handle[Any], database_url: str) -> None:
    run_id = park(database_url, "x")
    for attempt, error in enumerate([OSError("one"), OSError("two"), OSError("three")], 1):
        execute(database_url, ATTEMPTS, run_id, ":pay#0", attempt, "-1 s", None, record(error))
    execute(database_url, STEPS, run_id, ":pay#0", 1, "s", "e", 1, None, 3, record(OSError("three")))
    execute(database_url, STEPS, run_id, ":slow#0", 2, "s", "t", 2, None, 1, record(StepTimeout("slow", 5.0)))
    pay, slow = (await handle.describe()).steps
    assert (pay.state, pay.attempt) == (StepState.FAILED, 3)
    assert [str(attempt.failure) for attempt in pay.attempts] == [
        "OSError: one",
        "OSError: two",
        "OSError: three",
    ]
    assert str(pay.failure) == "OSError: three"
    assert slow.state is StepState.TIMED_OUT
    assert slow.failure is not None
    assert slow.failure.kind == "StepTimeout"
    assert [str(attempt.failure) for attempt in slow.attempts] == [str(slow.failure)]


async def test_a_timeout_between_two_attempts_is_none(handle: Handle[Any], database_url: str) -> None:
    run_id = park(database_url, "x")
    execute(database_url, ATTEMPTS, run_id, ":slow#0", 1, "5 s", "1 s", record(OSError("one")))
    execute(database_url, STEPS, run_id, ":slow#0", 1, "s", "t", 1, None, 2, record(StepTimeout("slow", 1.0)))
    execute(database_url, "UPDATE zart_steps SET started_at = NULL")
    (slow,) = (await handle.describe()).steps
    assert [str(attempt.failure) for attempt in slow.attempts] == ["OSError: one"]


async def test_what_was_open_when_the_run_ended_was_cancelled(
    client: Client, handle: Handle[Any], database_url: str
) -> None:
    run_id = park(database_url, "x")
    execute(database_url, STEPS, run_id, ":nap#0", 1, "z", "o", None, "1 hour", 1, None)
    execute(database_url, ATTEMPTS, run_id, ":pay#0", 1, "2 hours", None, record(OSError("one")))
    await handle.cancel()
    details = await handle.describe()
    assert {step.name: step.state for step in details.steps} == dict.fromkeys(
        ("nap", "pay"), StepState.CANCELLED
    )
    assert {step.completed_at for step in details.steps} == {details.run.completed_at}


async def test_collections_of_records_are_lists(
    client: Client, handle: Handle[Any], database_url: str
) -> None:
    execute(database_url, STEPS, park(database_url, "x"), ":nap#0", 1, "z", "o", None, "1 hour", 1, None)
    details = await handle.describe()
    for name in ("waiting_for", "children", "orphans", "runs", "steps", "events"):
        assert type(getattr(details, name)) is list, name
    assert type(details.steps[0].attempts) is list
    assert type((await client.list_runs()).items) is list


async def test_an_open_run_says_what_it_waits_for(handle: Handle[Any], database_url: str) -> None:
    run_id = park(database_url, "x")
    execute(database_url, STEPS, run_id, ":settle#0", 1, "z", "o", None, "1 hour", 1, None)
    execute(database_url, STEPS, run_id, ":over#0", 2, "z", "o", None, "-1 s", 1, None)
    execute(database_url, ATTEMPTS, run_id, ":pay#0", 1, "2 hours", "1 day", record(OSError("one")))
    execute(database_url, ATTEMPTS, run_id, ":running#0", 1, None, "1 day", None)
    execute(
        database_url,
        "INSERT INTO zart_waits (run_id, ident, execution_id, seq, name, deadline) "
        "VALUES (%s, ':shipped#0', 'x', 4, 'shipped', clock_timestamp() + interval '3 hours')",
        run_id,
    )
    details = await handle.describe()
    assert details.state is RunState.WAITING
    assert [(wait.kind, wait.name) for wait in details.waiting_for] == [
        ("timer", "settle"),
        ("event", "shipped"),
        ("retry", "pay"),
    ]
    hours = [wait.until - details.run.created_at for wait in details.waiting_for if wait.until is not None]
    assert [round(until / timedelta(hours=1)) for until in hours] == [1, 3, 2]
    assert {step.name: step.state for step in details.steps} == {
        "settle": StepState.SLEEPING,
        "over": StepState.COMPLETED,
        "pay": StepState.RETRYING,
        "running": StepState.RUNNING,
        "shipped": StepState.WAITING,
    }


async def test_a_scheduled_run_without_a_worker_says_so(handle: Handle[Any], database_url: str) -> None:
    assert [(wait.kind, wait.name) for wait in (await handle.describe()).waiting_for] == [("worker", "flow")]
    worker = "00000000-0000-7000-8000-000000000001"
    execute(
        database_url,
        "SELECT zart_register_worker_v1(%s, 60, 'w', 'h', 1, '{default}', '{flow}', '1')",
        worker,
    )
    assert (await handle.describe()).waiting_for == []
    execute(database_url, "UPDATE zart_workers SET lease_expires_at = now() - interval '1 s'")
    assert [wait.kind for wait in (await handle.describe()).waiting_for] == ["worker"]


async def test_a_failed_run_tells_its_failure_and_waits_for_nothing(
    handle: Handle[Any], database_url: str
) -> None:
    end(database_url, "x", "failed", DeadlineExceeded("the workflow's timeout of 5 s passed"))
    details = await handle.describe()
    assert (details.state, details.result, details.waiting_for) == (RunState.FAILED, None, [])
    assert details.failure is not None
    assert (details.failure.kind, details.failure.type) == ("DeadlineExceeded", "DeadlineExceeded")


async def test_a_completed_run_tells_its_result(handle: Handle[Any], database_url: str) -> None:
    end(database_url, "x", "completed", {"ok": [1, None]})
    details = await handle.describe()
    assert (details.state, details.result, details.failure) == (RunState.COMPLETED, {"ok": [1, None]}, None)
    assert (details.tags, details.input, details.run.completed_at is not None) == ({"k": "v"}, {"a": 1}, True)


async def test_details_are_of_one_moment(client: Client, handle: Handle[Any], database_url: str) -> None:
    """The end of the run comes between two of the queries; none of them sees it."""
    original = client._access.connections.read_together

    async def ends_meanwhile(work: Any) -> Any:
        async def slowly(connection: Any) -> Any:
            await connection.execute("SELECT count(*) FROM zart_executions")  # the snapshot is taken here
            end(database_url, "x", "completed", 1)
            return await work(connection)

        return await original(slowly)

    client._access.connections.read_together = ends_meanwhile  # type: ignore[method-assign] # to come in between
    details = await handle.describe()
    assert (details.state, details.runs[0].state) == (RunState.SCHEDULED, RunState.SCHEDULED)
