"""Errors of steps are met by type, with their attributes, the first time and after every crash."""

import asyncio

from zart_core import NonRetryable, StepTimeout, wait_for_event
from zart_decorators import durable, step

LIMIT = 100


class CardDeclined(Exception):
    def __init__(self, reason: str, *, limit: int) -> None:
        super().__init__(f"{reason}, the limit is {limit}")
        self.limit = limit


class NoSuchAddress(NonRetryable):
    """Asking again cannot help, whatever the policy of the step says."""


@step(retry="exponential(5, 1s)", no_retry_on=(CardDeclined,))
async def charge(amount: int) -> str:
    print(f"step: charge {amount}")
    if amount > LIMIT:
        raise CardDeclined("too much", limit=LIMIT)
    return f"charged {amount}"


@step(retry="exponential(5, 1s)")
async def find_address(customer: str) -> str:
    print(f"step: find the address of {customer}")
    raise NoSuchAddress(f"{customer} has moved")


@step(timeout="200ms")
async def ask_the_warehouse(item: str) -> int:
    print(f"step: ask for a {item}")
    await asyncio.sleep(60)  # it takes its time today
    return len(item)


@durable
async def checkout(customer: str, amount: int) -> list[str]:
    """Go through all that can go wrong, wait for a word from outside, and tell what happened."""
    story = []
    try:
        story.append(await charge(amount))
    except CardDeclined as declined:
        story.append(f"declined ({declined}): {await charge(declined.limit)}")
    try:
        story.append(await find_address(customer))
    except NoSuchAddress as error:
        story.append(f"held back: {error}")
    try:
        story.append(f"{await ask_the_warehouse('lamp')} in stock")
    except StepTimeout:
        story.append("the warehouse was asked in vain")
    await wait_for_event("go on")
    return story
