"""The mark `needs("program")`: skip where a program is absent, fail where it was promised.

ZART_REQUIRE lists, with commas between, what must be there: a skip for anything in it is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest

_FIND_PYTHON = Path(__file__).parents[2] / "scripts" / "find-python"


def find_program(name: str) -> Path | None:
    """Return where a program is: `postgresql-15` (its bin directory), `python3.12`, or anything on PATH."""
    kind, _, version = name.partition("-")
    if kind == "postgresql":
        return _first(f"/usr/lib/postgresql/{version}/bin", needed="initdb")
    if name.startswith("python3."):
        return _python(name.removeprefix("python"))
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"]))
    return Path(found) if found else None


def required() -> set[str]:
    """Return the programs whose absence is a failure."""
    return {name for name in os.environ.get("ZART_REQUIRE", "").split(",") if name}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for name in mark.args:
            if find_program(name) is not None:
                continue
            if name in required():
                pytest.fail(f"needs {name}, which ZART_REQUIRE promises", pytrace=False)
            pytest.skip(f"needs {name}")


def _first(directory: str, *, needed: str) -> Path | None:
    return Path(directory) if os.access(Path(directory) / needed, os.X_OK) else None


@cache
def _python(version: str) -> Path | None:
    done = subprocess.run([_FIND_PYTHON, version], capture_output=True, text=True, check=False)
    return Path(done.stdout.strip()) if done.returncode == 0 else None
