"""The mark `needs("program")`: skip where a program is absent, fail where it was promised.

ZART_REQUIRE lists, with commas between, what must be there: a skip for anything in it is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import pytest


def find_program(name: str) -> Path | None:
    """Return where a program is: `postgresql-15` (its bin directory), `python3.12`, or anything on PATH."""
    kind, _, version = name.partition("-")
    if kind == "postgresql":
        return _first(f"/usr/lib/postgresql/{version}/bin", needed="initdb")
    if name.startswith("python3."):
        number = name.removeprefix("python")
        homes = sorted(Path("~/.pyenv/versions").expanduser().glob(f"{number}*/bin/{name}"), reverse=True)
        return _first_that_runs([*homes, shutil.which(name)])
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


def _first_that_runs(candidates: Iterable[str | Path | None]) -> Path | None:
    for candidate in candidates:
        if candidate and subprocess.run([candidate, "-V"], capture_output=True, check=False).returncode == 0:
            return Path(candidate)
    return None
