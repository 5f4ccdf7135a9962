"""The worker dies within a transaction, and each coin is still moved exactly once: make example-transactions."""

import sys
from pathlib import Path

import psycopg

from examples.stage import Stage, play
from examples.transactions.workflow import pay_back

WORKFLOW = Path(__file__).with_name("workflow.py")
COINS = 60
MIDDLE = 20


def main(stage: Stage) -> None:
    notes = stage.directory / "notes"
    notes.touch()
    first = stage.start_worker(WORKFLOW)
    handle = stage.client.start(pay_back, COINS, str(notes))
    stage.wait_for(lambda: begun(notes) >= MIDDLE, f"{MIDDLE} coins are moved")
    stage.kill(first)
    stage.wait_for(lambda: not in_transaction(stage), "the server knows that the worker is dead")
    coins = balances(stage)
    recorded = sum(step.name == "pay-one" and step.result is not None for step in handle.describe().steps)
    stage.say(
        f"{begun(notes)} moves were begun; Bob has {coins['bob']} coins, and {recorded} moves are recorded"
    )
    stage.check(
        "there is a record for each coin moved, and for no other", holds=coins["bob"] == recorded < COINS
    )
    stage.check("no coin is on its way", holds=sum(coins.values()) == COINS)

    stage.start_worker(WORKFLOW)
    moves = handle.result("30s")
    stage.say(f"{begun(notes)} moves were begun in all, for {COINS} coins: {balances(stage)}")
    stage.check("every coin was moved exactly once", holds=balances(stage) == {"ada": 0, "bob": COINS})
    stage.check("in order", holds=moves == list(range(1, COINS + 1)))


def begun(notes: Path) -> int:
    return len(notes.read_text().splitlines())


def balances(stage: Stage) -> dict[str, int]:
    with psycopg.connect(stage.client.conninfo) as connection:
        return dict(connection.execute("SELECT owner, coins FROM accounts ORDER BY owner").fetchall())


def in_transaction(stage: Stage) -> bool:
    """Return whether the accounts are locked: a commit that was sent may still be under way."""
    with psycopg.connect(stage.client.conninfo) as connection:
        held = connection.execute("SELECT FROM pg_locks WHERE relation = 'accounts'::regclass").fetchone()
    return held is not None


if __name__ == "__main__":
    sys.exit(play(main))
