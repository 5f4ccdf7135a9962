"""An expense waits for a person's word, for two weeks at most."""

from pydantic import BaseModel

from zart_core import EventTimeout, wait_for_event
from zart_decorators import durable, step


class Decision(BaseModel):
    approved: bool
    by: str


@step
async def ask_for_approval(employee: str, amount: float) -> None:
    """Write to whoever decides."""
    print(f"may {employee} spend {amount:.0f}?")


@step
async def pay_out(employee: str, amount: float) -> str:
    return f"{employee} gets {amount:.0f}"


@durable
async def expense(employee: str, amount: float, patience: str = "14d") -> str:
    await ask_for_approval(employee, amount)
    try:
        decision = await wait_for_event("decision", Decision, timeout=patience)
    except EventTimeout:
        return f"nobody decided about {employee}'s expense"
    if not decision.approved:
        return f"{decision.by} said no"
    return f"{await pay_out(employee, amount)}, {decision.by} said yes"
