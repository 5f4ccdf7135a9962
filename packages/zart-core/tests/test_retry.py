"""Retry policies: the grammar, the arithmetic, and which errors are retried."""

from __future__ import annotations

from typing import Any

import pytest

from zart_core.duration import MAX_SECONDS
from zart_core.errors import (
    ConfigurationError,
    InvalidText,
    NestedStep,
    NonRetryable,
    PayloadTooLarge,
    StepTimeout,
)
from zart_core.retry import NO_RETRY, RetryPolicy, as_policy, should_retry


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("fixed(3, 1s)", RetryPolicy(3, 1.0, 1.0)),
        ("fixed(0,500ms)", RetryPolicy(0, 0.5, 1.0)),
        ("fixed(3, 1s, jitter=full)", RetryPolicy(3, 1.0, 1.0, jitter="full")),
        ("exponential(3, 2s)", RetryPolicy(3, 2.0)),
        (" exponential ( 3 , 2s ) ", RetryPolicy(3, 2.0)),
        (
            "exponential(5, PT1M, factor=1.5, max=1h30m, jitter=full)",
            RetryPolicy(5, 60.0, 1.5, 5400.0, "full"),
        ),
        ("exponential(5, 1s, jitter=none, factor=3)", RetryPolicy(5, 1.0, 3.0)),
        ("exponential(1000000, 0s)", RetryPolicy(1_000_000, 0.0)),
    ],
)
def test_the_text_of_a_policy_is_read(text: str, policy: RetryPolicy) -> None:
    assert RetryPolicy.parse(text) == policy
    assert RetryPolicy.parse(str(policy)) == policy


@pytest.mark.parametrize(
    ("text", "column", "expected"),
    [
        ("", 1, "fixed(N"),
        ("linear(3, 1s)", 1, "fixed(N"),
        ("fixed", 6, "'('"),
        ("fixed[3]", 1, "fixed(N"),
        ("fixed(x, 1s)", 7, "a number of retries"),
        ("fixed(-1, 1s)", 7, "a number of retries"),
        ("fixed(1.5, 1s)", 7, "a number of retries"),
        ("fixed(1000001, 1s)", 7, "a number of retries"),
        ("fixed(3 1s)", 9, "','"),
        ("fixed(3, )", 10, "a duration"),
        ("fixed(3,", 9, "a duration"),
        ("fixed(3, 10)", 12, "a unit"),
        ("fixed(3, 1h5x)", 13, "a unit"),
        ("fixed(3, -1s)", 10, "negative"),
        ("fixed(3, 1s", 12, "','"),
        ("fixed(3, 1s; jitter=full)", 12, "a number with a unit"),
        ("fixed(3, 1s, factor=2)", 14, "jitter="),
        ("exponential(3, 1s, color=red)", 20, "factor="),
        ("exponential(3, 1s, factor)", 26, "'='"),
        ("exponential(3, 1s, factor=0.5)", 27, "1 to 1,000"),
        ("exponential(3, 1s, factor=1001)", 27, "1 to 1,000"),
        ("exponential(3, 1s, factor=x)", 27, "1 to 1,000"),
        ("exponential(3, 1s, max=soon)", 24, "a number with a unit"),
        ("exponential(3, 1s, jitter=some)", 27, "'full' or 'none'"),
        ("exponential(3, 1s, max=1s, max=2s)", 28, "twice"),
        ("fixed(3, 1s) twice", 14, "nothing after"),
        ("fixed(3, 1s)\u00a0,", 14, "nothing after"),
    ],
)
def test_a_wrong_text_is_refused_with_the_column(text: str, column: int, expected: str) -> None:
    with pytest.raises(InvalidText) as caught:
        RetryPolicy.parse(text)
    assert (caught.value.text, caught.value.column) == (text, column)
    assert expected in caught.value.expected
    assert isinstance(caught.value, ConfigurationError)


@pytest.mark.parametrize(
    "wrong",
    [
        {"retries": -1},
        {"retries": 1_000_001},
        {"retries": True},
        {"retries": 1.5},
        {"delay": -1},
        {"delay": float("nan")},
        {"max_delay": -1},
        {"factor": 0.5},
        {"factor": 1001},
        {"factor": float("nan")},
        {"factor": True},
        {"factor": "2"},
        {"jitter": "some"},
    ],
)
def test_a_policy_outside_its_limits_cannot_be_made(wrong: dict[str, Any]) -> None:
    with pytest.raises(InvalidText):
        RetryPolicy(**{"retries": 3, "delay": 1.0, **wrong})


def test_durations_of_a_policy_may_be_text() -> None:
    assert RetryPolicy.fixed(3, "1s") == RetryPolicy.parse("fixed(3, 1s)")
    assert RetryPolicy.exponential(3, "2s", max_delay="1m") == RetryPolicy.parse("exponential(3, 2s, max=1m)")
    assert RetryPolicy.exponential(3, 2) == RetryPolicy.parse("exponential(3, 2s)")


def test_exponential_3_2s_waits_2_4_8_and_makes_4_attempts() -> None:
    policy = RetryPolicy.parse("exponential(3, 2s)")
    assert [policy.next_delay(attempt, 0.5) for attempt in (1, 2, 3, 4, 5)] == [2, 4, 8, None, None]


def test_fixed_waits_the_same() -> None:
    policy = RetryPolicy.parse("fixed(2, 1500ms)")
    assert [policy.next_delay(attempt, 0.5) for attempt in (1, 2, 3)] == [1.5, 1.5, None]


def test_max_caps_and_full_jitter_draws_below() -> None:
    policy = RetryPolicy.parse("exponential(9, 2s, factor=3, max=10s, jitter=full)")
    assert [policy.next_delay(attempt, 0.5) for attempt in (1, 2, 3)] == [1, 3, 5]
    assert policy.next_delay(3, 0.0) == 0


def test_delays_do_not_overflow() -> None:
    policy = RetryPolicy(1_000_000, 1.0, 1000.0)
    assert policy.next_delay(1_000_000, 0.0) == MAX_SECONDS
    assert RetryPolicy(1_000_000, 0.0).next_delay(1_000_000, 0.0) == 0


def test_a_step_without_a_policy_has_one_attempt() -> None:
    assert as_policy(None) == NO_RETRY
    assert NO_RETRY.next_delay(1, 0.0) is None


def test_a_policy_is_taken_as_it_is_and_nothing_else_is() -> None:
    assert as_policy(NO_RETRY) is NO_RETRY
    assert as_policy("fixed(1, 1s)") == RetryPolicy.fixed(1, 1)
    with pytest.raises(InvalidText, match="RetryPolicy"):
        as_policy(3)  # type: ignore[arg-type] # what a user without a type checker may write


class Declined(NonRetryable):
    pass


@pytest.mark.parametrize(
    "error",
    [NonRetryable("no"), Declined(), StepTimeout("s", 1), PayloadTooLarge("x", 2, 1), NestedStep("a", "b")],
)
def test_what_another_attempt_cannot_mend_is_never_retried(error: Exception) -> None:
    assert not should_retry(error)
    assert not should_retry(error, retry_on=(Exception,))


def test_retry_on_limits_and_no_retry_on_wins() -> None:
    assert should_retry(ValueError())
    assert should_retry(SystemExit())
    assert should_retry(KeyError(), retry_on=(LookupError,))
    assert not should_retry(ValueError(), retry_on=(LookupError,))
    assert not should_retry(KeyError(), retry_on=(LookupError,), no_retry_on=(KeyError,))
