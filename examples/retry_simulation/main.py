"""A service fails twice and then answers, another never does: make example-retry-simulation."""

import sys
from collections.abc import Sequence
from pathlib import Path

from examples.retry_simulation.service import flaky_service
from examples.retry_simulation.workflow import quote
from examples.stage import Stage, play
from zart_core import AttemptDetails

WORKFLOW = Path(__file__).with_name("workflow.py")
FAILURES = 2
MOST = 4
"""Attempts that the step's policy allows."""


def main(stage: Stage) -> None:
    with flaky_service({"tea": FAILURES, "coffee": 1000}) as service:
        stage.start_worker(WORKFLOW)
        tea = stage.client.start(quote, service.url, "tea")
        coffee = stage.client.start(quote, service.url, "coffee")
        for handle in (tea, coffee):
            result = handle.result("30s")
            (step,) = handle.describe().steps
            stage.say(f"\n{result!r}, in these attempts:")
            for line in told(step.attempts):
                stage.say(line)
        stage.say()
        stage.check(
            "two failures and a success",
            holds=tea.result() == "tea costs 30" and service.calls["tea"] == FAILURES + 1,
        )
        stage.check("never more attempts than the policy allows", holds=service.calls["coffee"] == MOST)
        stage.check(
            "the body met the step's own exception",
            holds=coffee.result().startswith("no price for coffee: 503"),
        )


def told(attempts: Sequence[AttemptDetails]) -> list[str]:
    began = attempts[0].started_at
    lines = []
    for attempt in attempts:
        assert began is not None
        assert attempt.started_at is not None
        after = (attempt.started_at - began).total_seconds()
        lines.append(f"  {attempt.number}. after {after:.1f} s: {attempt.failure or 'the price came'}")
    return lines


if __name__ == "__main__":
    sys.exit(play(main))
