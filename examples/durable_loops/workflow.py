"""An ordinary `for` loop over a hundred items, each a step."""

import time
from pathlib import Path

from zart_decorators import durable, step


@step
def square(item: int, ledger: str) -> int:
    """Do something that can be counted from outside: write a line. Not async, so it runs in a thread."""
    with Path(ledger).open("a") as file:
        file.write(f"{item}\n")
    time.sleep(0.02)
    return item * item


@durable
async def sum_of_squares(items: int, ledger: str) -> int:
    total = 0
    for item in range(items):
        total += await square(item, ledger)
    return total
