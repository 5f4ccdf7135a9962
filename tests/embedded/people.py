"""Run Python as somebody else."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

_CODE = [sysconfig.get_path("purelib"), *map(str, sorted(Path.cwd().glob("packages/*/src")))]


def run_as(user: str, code: str, *arguments: object, state: Path | None = None) -> str:
    """Run `code` as `user` and return what it printed; skip where that user has no Python to run it with."""
    entry = pwd.getpwnam(user)
    here = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{here}", f"/usr/local/bin/{here}"):
        environment = {
            "PATH": os.defpath,
            "HOME": "/nonexistent",
            "PYTHONPATH": os.pathsep.join(_CODE),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        if state is not None:
            environment["ZART_STATE_DIR"] = str(state)
        try:
            done = subprocess.run(
                [python, "-c", code, *map(str, arguments)],
                user=entry.pw_uid,
                group=entry.pw_gid,
                extra_groups=[],
                env=environment,
                cwd="/",
                capture_output=True,
                text=True,
                check=False,
            )
        except OSError:
            continue
        if "ModuleNotFoundError" in done.stderr:
            continue
        assert done.returncode == 0, done.stderr
        return done.stdout
    pytest.skip(f"needs {here} and the checkout within reach of {user}")
