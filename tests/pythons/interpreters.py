"""The Pythons that Zart runs on, and environments of each in which core's tests can run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from zart_scheduler.embedded import locks

ROOT = Path(__file__).parents[2]
THIS = f"{sys.version_info.major}.{sys.version_info.minor}"
VERSIONS = ("3.11", "3.12", "3.13")


def needing(*versions: str) -> ParameterSet:
    """Return the versions as parameters of a test that needs them all."""
    others = [f"python{version}" for version in versions if version != THIS]
    return pytest.param(
        *versions, id="-".join(versions), marks=[pytest.mark.needs(*others)] if others else []
    )


OTHERS = [needing(version) for version in VERSIONS if version != THIS]
PAIRS = [needing(one, other) for one in VERSIONS for other in VERSIONS if one != other]


def interpreter(version: str) -> Path:
    """Return the interpreter of an environment of that Python; it is made if it is not there."""
    if version == THIS:
        return Path(sys.executable)
    (ROOT / ".tools").mkdir(exist_ok=True)
    with locks.exclusive(ROOT / ".tools" / f"python{version}.lock"):
        done = subprocess.run(
            [ROOT / "scripts" / "setup-python", version], stdout=subprocess.PIPE, text=True, check=True
        )
    return Path(done.stdout.strip())


def environment(**more: str) -> dict[str, str]:
    """Return an environment for it, in which it may keep its bytecode."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHONDONTWRITE", "ZART_"))}
    return kept | more


def run(version: str, *arguments: str | Path, **more: str) -> str:
    """Run that Python with `arguments` and return what it wrote; fail with that if it fails."""
    done = subprocess.run(
        [interpreter(version), *arguments],
        cwd=ROOT,
        env=environment(**more),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout
