from dataclasses import replace
from datetime import UTC, datetime, timedelta

from rich.console import Console

from zart_cli.settings import TimeStyle
from zart_cli.timeline import Look, brief, draw_execution, next_command
from zart_core import (
    AttemptDetails,
    CurrentCall,
    DivergenceDetails,
    EventDetails,
    ExecutionDetails,
    Failure,
    RecordedCall,
    Remedy,
    RunState,
    RunSummary,
    StepDetails,
    StepState,
    WaitingFor,
)

NOW = datetime(2030, 1, 31, 9, 0, tzinfo=UTC)
START = NOW - timedelta(minutes=2)
DECLINED = Failure(
    "error",
    "CardDeclined",
    "no funds",
    'Traceback (most recent call last):\n  File "/app/flows.py", line 9, in pay\n    raise CardDeclined("no funds")\n'
    "flows.CardDeclined: no funds\n",
)
RUN = RunSummary("order-7", "r", 0, "order", "1", RunState.WAITING, "default", {}, START, START, None)


def step(name: str, **changes: object) -> StepDetails:
    made = StepDetails(
        name=name,
        scope="",
        kind="step",
        key=None,
        state=StepState.COMPLETED,
        attempt=1,
        attempts=[],
        result=None,
        failure=None,
        started_at=START,
        completed_at=START + timedelta(milliseconds=120),
        worker=None,
    )
    return replace(made, **changes)  # type: ignore[arg-type] # the test says which


def execution(**changes: object) -> ExecutionDetails:
    made = ExecutionDetails(
        execution_id="order-7",
        workflow="order",
        version="1",
        state=RunState.WAITING,
        input={"order_id": "7"},
        result=None,
        failure=None,
        waiting_for=[],
        deadline=None,
        worker=None,
        tags={},
        parent=None,
        children=[],
        orphans=[],
        divergence=None,
        run=RUN,
        runs=[RUN],
        steps=[],
        events=[],
    )
    return replace(made, **changes)  # type: ignore[arg-type] # the test says which


def drawn(details: ExecutionDetails, *, time: TimeStyle = TimeStyle.RELATIVE, unicode: bool = True) -> str:
    console = Console(width=200, no_color=True, highlight=False)
    with console.capture() as captured:
        console.print(draw_execution(details, Look(NOW, time, unicode)))
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def test_the_headline_says_what_it_is_and_where_it_stands() -> None:
    assert drawn(execution()).splitlines()[0] == "order-7  order (version 1)  waiting"


def test_each_open_wait_is_told_with_when_it_ends() -> None:
    waits = (
        WaitingFor("event", "shipped", NOW + timedelta(minutes=58)),
        WaitingFor("timer", "nap", NOW + timedelta(seconds=30)),
        WaitingFor("retry", "pay", NOW + timedelta(seconds=4)),
        WaitingFor("worker", "order", None),
    )
    text = drawn(execution(waiting_for=waits))
    assert "waits for  event shipped, times out in 58m" in text
    assert "timer nap, wakes in 30s" in text
    assert "retry of pay, in 4s" in text
    assert "a worker that has order" in text


def test_times_can_be_absolute() -> None:
    waits = (WaitingFor("event", "shipped", NOW),)
    text = drawn(execution(waiting_for=waits), time=TimeStyle.ISO)
    assert "times out 2030-01-31T09:00:00Z" in text
    assert "2030-01-31T08:58:00Z" in text


def test_steps_stand_in_order_with_state_attempts_and_length() -> None:
    busy = Failure("error", "ConnectionError", "gateway\nis busy")
    steps = (
        step("validate"),
        step("pay", key="7", attempt=2, attempts=(AttemptDetails(1, START, START, busy),)),
        step("settle", kind="sleep", state=StepState.SLEEPING, completed_at=None),
        step("ship", scope="0.1", state=StepState.RUNNING, completed_at=None),
    )
    lines = [" ".join(line.split()) for line in drawn(execution(steps=steps)).splitlines()]
    assert "✓ validate 120ms +<1ms" in lines
    assert "✓ pay[7] 120ms, attempt 2 +<1ms" in lines
    assert "attempt 1: ConnectionError: gateway is busy" in lines
    assert "… settle sleep sleeping +<1ms" in lines
    assert "▸ ship in branch 0.1 running for 2m +<1ms" in lines
    assert lines.index("✓ validate 120ms +<1ms") < lines.index("✓ pay[7] 120ms, attempt 2 +<1ms")


def test_what_went_wrong_below_a_step_makes_no_column_wider() -> None:
    steps = (
        step("pay", state=StepState.FAILED, failure=Failure("error", "Long", "word " * 30)),
        step("validate-address"),
    )
    pay, trouble, validate = (
        line
        for line in drawn(execution(steps=steps)).splitlines()
        if line.startswith("   ") or "✓" in line or "✗" in line
    )
    assert pay == "  ✗  pay               failed  +<1ms"
    assert trouble.startswith("     Long: word word")
    assert validate == "  ✓  validate-address  120ms   +<1ms"


def test_a_terminal_without_unicode_gets_plain_signs() -> None:
    text = drawn(execution(steps=(step("a"), step("b", state=StepState.FAILED))), unicode=False)
    assert "+  a" in text
    assert "x  b" in text


def test_a_failure_shows_where_the_step_raised_and_where_the_body_did_not_catch_it() -> None:
    in_body = replace(
        DECLINED,
        traceback='Traceback (most recent call last):\n  File "/app/flows.py", line 30, in order\n    await pay()\n'
        "flows.CardDeclined: no funds\n",
    )
    details = execution(
        state=RunState.FAILED, failure=in_body, steps=(step("pay", state=StepState.FAILED, failure=DECLINED),)
    )
    text = drawn(details)
    assert (
        text.index("in step pay:")
        < text.index("line 9, in pay")
        < text.index("in the workflow:")
        < text.index("line 30, in order")
    )
    assert "zart runs steps order-7 -o json" in text


def test_a_failure_without_traceback_is_still_told() -> None:
    failure = Failure("DeadlineExceeded", "DeadlineExceeded", "30m passed")
    assert "DeadlineExceeded: 30m passed" in drawn(execution(state=RunState.FAILED, failure=failure))


def test_a_cancelled_run_shows_the_reason_and_no_traceback() -> None:
    failure = Failure("cancelled", "RunCancelled", "customer called")
    text = drawn(execution(state=RunState.CANCELLED, failure=failure))
    assert "reason" in text
    assert "customer called" in text
    assert "next:" not in text


def test_a_blocked_run_shows_why() -> None:
    divergence = DivergenceDetails(
        "ZART-D002",
        "':pay#1' is recorded with other arguments",
        "another order",
        RecordedCall("pay", "", ":pay#1", "step", "ok", "ab" * 16, START, "worker-1"),
        CurrentCall("pay", "", ":pay#1", "step", "cd" * 16, "('8',)", "/app/flows.py:9 in order"),
        [Remedy("zart runs unblock order-7 --accept pay", "takes the record"), Remedy("zart x", "other")],
    )
    text = drawn(execution(state=RunState.BLOCKED, divergence=divergence))
    assert "ZART-D002: ':pay#1' is recorded with other arguments" in text
    assert "step pay (:pay#1), ok 2m ago by worker-1, arguments abababab" in text
    assert "step pay('8',) (:pay#1) at /app/flows.py:9 in order, arguments cdcdcdcd" in text
    assert "another order" in text
    assert "repair: zart runs unblock order-7 --accept pay  takes the record" in text
    assert "or:     zart x  other" in text
    assert "next:" not in text


def test_a_run_that_met_not_all_of_its_records_names_the_others() -> None:
    text = drawn(execution(state=RunState.COMPLETED, orphans=["pay#1", "ship"]))
    assert "pay#1, ship: recorded, and no call" in text


def test_a_message_cannot_steer_the_terminal() -> None:
    failure = Failure("error", "Evil", "\x1b[2Jgone [bold]markup[/bold]")
    text = drawn(execution(state=RunState.FAILED, failure=failure))
    assert "\x1b" not in text
    assert "\\x1b[2Jgone [bold]markup[/bold]" in text


def test_what_comes_next_depends_on_the_state() -> None:
    event = (WaitingFor("event", "it came", None),)
    worker = (WaitingFor("worker", "order", None),)
    assert next_command(execution(waiting_for=event)) == "zart events send order-7 'it came' -d '{...}'"
    assert (next_command(execution(waiting_for=worker)) or "").startswith("zart worker MODULE")
    child = (WaitingFor("child", "ship", None),)
    assert (next_command(execution(waiting_for=child)) or "").startswith("zart runs tree order-7 ")
    assert next_command(execution(state=RunState.RUNNING)) == "zart runs wait order-7"
    assert next_command(execution(state=RunState.COMPLETED)) is None


def test_a_completed_run_shows_result_length_and_events_left_over() -> None:
    run = replace(RUN, state=RunState.COMPLETED, completed_at=NOW)
    event = EventDetails("1", "late", None, None, NOW, "pending", None)
    text = drawn(
        execution(
            state=RunState.COMPLETED, result={"ok": True}, run=run, events=(event,), tags={"region": "eu"}
        )
    )
    assert '{"ok": true}' in text
    assert "now after 2m" in text
    assert "1 not yet consumed" in text
    assert "region=eu" in text


def test_long_payloads_are_cut() -> None:
    assert brief("x" * 1000, 20) == '"' + "x" * 16 + "..."
    assert brief([1, 2]) == "[1, 2]"
