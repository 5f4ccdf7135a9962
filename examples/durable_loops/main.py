"""The worker is killed in the middle of a loop, and no recorded item is done again: make example-durable-loops."""

import sys
from collections import Counter
from pathlib import Path

from examples.durable_loops.workflow import sum_of_squares
from examples.stage import Stage, play
from zart_core import StepState

WORKFLOW = Path(__file__).with_name("workflow.py")
ITEMS = 100
MIDDLE = 40


def main(stage: Stage) -> None:
    ledger = stage.directory / "ledger"
    ledger.touch()
    first = stage.start_worker(WORKFLOW)
    handle = stage.client.start(sum_of_squares, ITEMS, str(ledger))
    stage.wait_for(lambda: len(done(ledger)) >= MIDDLE, f"{MIDDLE} items are done")
    stage.kill(first)
    recorded = sum(step.state is StepState.COMPLETED for step in handle.describe().steps)
    stage.say(f"{len(done(ledger))} items were begun, {recorded} are recorded")

    stage.start_worker(WORKFLOW)
    total = handle.result("30s")
    times = Counter(done(ledger))
    again = [item for item in range(ITEMS) if times[item] > 1]
    stage.say(f"the sum is {total}; done more than once: {again or 'nothing'}")
    stage.check("the worker died in the middle", holds=MIDDLE - 1 <= recorded < ITEMS)
    stage.check("the sum is right", holds=total == sum(item * item for item in range(ITEMS)))
    stage.check("every item was done", holds=times.keys() == set(range(ITEMS)))
    stage.check("no recorded item was done again", holds=all(times[item] == 1 for item in range(recorded)))
    stage.check("at most the one that was under way was", holds=sum(times.values()) <= ITEMS + 1)


def done(ledger: Path) -> list[int]:
    return [int(line) for line in ledger.read_text().split()]


if __name__ == "__main__":
    sys.exit(play(main))
