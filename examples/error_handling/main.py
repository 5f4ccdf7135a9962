"""A body takes the same `except` branches in another worker as before a crash: make example-error-handling."""

import sys
from pathlib import Path

from examples.error_handling.workflow import checkout
from examples.stage import Child, Stage, play
from zart_core import RunState

WORKFLOW = Path(__file__).with_name("workflow.py")
STORY = [
    "declined (too much, the limit is 100): charged 100",
    "held back: Ada has moved",
    "the warehouse was asked in vain",
]
PRINTED = [
    "step: charge 250",
    "step: charge 100",
    "step: find the address of Ada",
    "step: ask for a lamp",
]


def main(stage: Stage) -> None:
    first = stage.start_worker(WORKFLOW)
    handle = stage.client.start(checkout, "Ada", 250)
    stage.wait_for(lambda: handle.status() is RunState.WAITING, "the run waits for an event")
    steps = handle.describe().steps
    for step in steps:
        attempts = f"{step.attempt} attempt{'s' if step.attempt > 1 else ''}"
        stage.say(f"  {step.name:18} {step.state:10} {attempts:11} {step.failure or step.result or ''}")
    stage.check("what cannot be mended was not tried again", holds=all(step.attempt == 1 for step in steps))
    stage.check("each step printed its line", holds=printed(first) == PRINTED)
    stage.kill(first)

    second = stage.start_worker(WORKFLOW)
    handle.send_event("go on")
    told = handle.result("30s")
    stage.say("\n".join(told))
    stage.check("the second worker took the same branches", holds=told == STORY)
    stage.check("and ran no step again", holds=printed(second) == [])


def printed(worker: Child) -> list[str]:
    """Return what steps printed in a worker."""
    return [line for line in worker.log.read_text().splitlines() if line.startswith("step: ")]


if __name__ == "__main__":
    sys.exit(play(main))
