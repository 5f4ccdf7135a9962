"""Four stations answer in the time of one; a failing sibling cancels the others: make example-parallel-steps."""

import sys
from pathlib import Path

from examples.parallel_steps.workflow import inspection, survey
from examples.stage import Stage, play
from zart_core import StepDetails

WORKFLOW = Path(__file__).with_name("workflow.py")
STATIONS = ["Oslo", "Lisbon", "Reykjavik", "Rome"]


def main(stage: Stage) -> None:
    stage.start_worker(WORKFLOW)
    surveying = stage.client.start(survey, STATIONS)
    inspecting = stage.client.start(inspection)

    measured = surveying.result("30s")
    steps = surveying.describe().steps
    measuring = [step for step in steps if step.name == "measure"]
    stage.say(f"\nsurvey: {', '.join(measured)}")
    show(stage, steps)
    stage.check(
        "results are in the order of the stations", holds=[m.split()[0] for m in measured] == STATIONS
    )
    stage.check(f"four measurements of 0.5 s took {duration(measuring):.1f} s", holds=overlap(measuring))

    result = inspecting.result("30s")
    steps = inspecting.describe().steps
    states = [str(step.state) for step in steps]
    stage.say(f"\ninspection: {result}")
    show(stage, steps)
    stage.check("the body went on after its siblings", holds=result == "a new gearbox is ordered")
    stage.check(
        "one was fine, one failed, one was cancelled, and then a new part was ordered",
        holds=states == ["completed", "failed", "cancelled", "completed"],
    )


def show(stage: Stage, steps: list[StepDetails]) -> None:
    for step in steps:
        stage.say(f"  {step.scope or '-':4} {step.name:18} {step.state:10} {step.failure or step.result}")


def duration(steps: list[StepDetails]) -> float:
    """Return how long the steps took altogether, by the database's clock."""
    began = min(step.started_at for step in steps if step.started_at)
    return (max(step.completed_at for step in steps if step.completed_at) - began).total_seconds()


def overlap(steps: list[StepDetails]) -> bool:
    """Return whether all had begun before the first was over."""
    began = max(step.started_at for step in steps if step.started_at)
    return began < min(step.completed_at for step in steps if step.completed_at)


if __name__ == "__main__":
    sys.exit(play(main))
