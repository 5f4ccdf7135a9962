"""Kill a worker in the middle of a payment, and check that every card was charged exactly once.

    make demo

ZART_DATABASE_URL names the database to use; without it the demo has a PostgreSQL of its own, gone when it ends.
"""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def main() -> None:
    print("Orders are paid, and the worker gets kill -9 in the middle of a payment.", flush=True)
    sys.path[0] = str(ROOT)
    if sys.dont_write_bytecode:
        keep_bytecode_aside(ROOT / ".tools" / "bytecode")
    try:
        runpy.run_module("examples.order_fulfillment.demonstration", run_name="__main__", alter_sys=True)
    except KeyboardInterrupt:  # before anything was started
        sys.exit(130)


def keep_bytecode_aside(directory: Path) -> None:
    """Keep the bytecode of this process and its children in `directory`, as it may not lie beside the code.

    Without any, each of thirty short processes would compile all it imports.
    """
    sys.dont_write_bytecode, sys.pycache_prefix = False, str(directory)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # or it was python -B
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory)


if __name__ == "__main__":
    main()
