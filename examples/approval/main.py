"""One expense is approved, one refused, and one expires: make example-approval."""

import sys
from functools import partial
from pathlib import Path

from examples.approval.workflow import Decision, expense
from examples.stage import Stage, play
from zart_core import RunState, WaitingFor
from zart_scheduler import SyncHandle

WORKFLOW = Path(__file__).with_name("workflow.py")


def main(stage: Stage) -> None:
    stage.start_worker(WORKFLOW)
    ada = stage.client.start(expense, "Ada", 120.0)
    bob = stage.client.start(expense, "Bob", 90.0)
    eve = stage.client.start(expense, "Eve", 5000.0, "1s")
    for name, handle in {"Ada": ada, "Bob": bob}.items():
        (wait,) = stage.wait_for(partial(open_waits, handle), "the run waits")
        stage.say(f"{name}'s expense waits for the event {wait.name!r} until {wait.until:%Y-%m-%d %H:%M}")

    # From a terminal, from a program, or by HTTP: POST /v1/executions/ID/events/decision
    stage.zart("events", "send", ada.execution_id, "decision", "-d", '{"approved": true, "by": "Grace"}')
    receipt = bob.send_event("decision", Decision(approved=False, by="Grace"))
    stage.say(f"Bob's run was waiting for it: {receipt.waiting}")
    for handle in (ada, bob, eve):
        stage.say(f"  {handle.result('30s')}")
    stage.check("the first was paid out", holds=ada.result() == "Ada gets 120, Grace said yes")
    stage.check("the second was refused", holds=bob.result() == "Grace said no")
    stage.check("the third expired", holds=eve.result() == "nobody decided about Eve's expense")
    paid = [step.name for handle in (bob, eve) for step in handle.describe().steps if step.name == "pay-out"]
    stage.check("nothing else was paid out", holds=not paid)


def open_waits(handle: SyncHandle[str]) -> list[WaitingFor] | None:
    details = handle.describe()
    return details.waiting_for if details.state is RunState.WAITING else None


if __name__ == "__main__":
    sys.exit(play(main))
