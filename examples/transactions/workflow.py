"""A debt is paid back coin by coin, in tables of one's own beside those of Zart."""

import time
from pathlib import Path

from zart_core import transaction
from zart_decorators import durable, step


@step
def open_accounts(coins: int) -> None:
    with transaction() as conn:
        conn.execute("CREATE TABLE accounts (owner text PRIMARY KEY, coins integer CHECK (coins >= 0))")
        conn.execute("INSERT INTO accounts VALUES ('ada', %s), ('bob', 0)", (coins,))


@step
def pay_one(notes: str) -> int:
    """Move a coin from Ada to Bob and return how many he has: record and coin are committed together, or neither is."""
    with Path(notes).open(
        "a"
    ) as file:  # no part of the transaction: it stays if the worker dies before the commit
        file.write("a coin is moved\n")
    with transaction() as conn:
        conn.execute("UPDATE accounts SET coins = coins - 1 WHERE owner = 'ada'")
        row = conn.execute(
            "UPDATE accounts SET coins = coins + 1 WHERE owner = 'bob' RETURNING coins"
        ).fetchone()
        assert row is not None
        time.sleep(0.02)
    return int(row[0])


@durable
async def pay_back(coins: int, notes: str) -> list[int]:
    await open_accounts(coins)
    return [await pay_one(notes) for _ in range(coins)]
