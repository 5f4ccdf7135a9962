"""A run sleeps while no worker lives, and wakes in time in another one: make example-sleep."""

import sys
from datetime import timedelta
from pathlib import Path

from examples.sleep.workflow import reminder
from examples.stage import Stage, play
from zart_core import RunState

WORKFLOW = Path(__file__).with_name("workflow.py")


def main(stage: Stage) -> None:
    first = stage.start_worker(WORKFLOW)
    handle = stage.client.start(reminder, "drink tea", "3s")
    stage.wait_for(lambda: handle.status() is RunState.SLEEPING, "the run sleeps")
    (timer,) = handle.describe().waiting_for
    wakes_at = timer.until
    assert wakes_at is not None
    stage.say(f"{handle.execution_id} is {handle.status()} until {wakes_at:%H:%M:%S}: a row in PostgreSQL")
    stage.kill(first)

    second = stage.start_worker(WORKFLOW)
    noted, reminded = handle.result("30s")
    stage.say(f"{noted}\n{reminded}")
    ended_at = handle.describe().run.completed_at
    assert ended_at is not None
    late = ended_at - wakes_at
    stage.check("the note was not taken again", holds=noted.endswith(f"by process {first.process.pid}"))
    stage.check("the second worker reminded", holds=reminded.endswith(f"by process {second.process.pid}"))
    stage.check(
        f"it woke in time, {late.total_seconds():.1f} s after the time recorded", holds=late >= timedelta()
    )


if __name__ == "__main__":
    sys.exit(play(main))
