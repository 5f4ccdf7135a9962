"""Kill a worker in the middle of a payment, and check that every card was charged exactly once.

    make demo

ZART_DATABASE_URL names the database to use; without it the demo has a PostgreSQL of its own, gone when it ends.
"""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

if __name__ == "__main__":
    print(
        "Orders come in and are paid. The worker that pays them gets kill -9 in the middle of a payment.",
        flush=True,
    )
    sys.path[0] = str(Path(__file__).parents[2])
    runpy.run_module("examples.order_fulfillment.demonstration", run_name="__main__", alter_sys=True)
