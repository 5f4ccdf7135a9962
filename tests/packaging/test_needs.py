"""The mark `needs`: absent programs skip a test, and fail it where they were promised."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).parents[2]
_TEST = """
import pytest

@pytest.mark.needs("no-such-program")
def test_it() -> None:
    pass
"""


@pytest.mark.parametrize(("promised", "outcome"), [("", "1 skipped"), ("sh,no-such-program", "1 error")])
def test_an_absent_program_skips_unless_it_was_promised(promised: str, outcome: str, tmp_path: Path) -> None:
    (tmp_path / "test_one.py").write_text(_TEST)
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-q",
            "-c",
            _ROOT / "pyproject.toml",
            "-p",
            "tests.support.programs",
            tmp_path,
        ],
        cwd=_ROOT,
        env=os.environ | {"ZART_REQUIRE": promised},
        capture_output=True,
        text=True,
        check=False,
    )
    assert outcome in done.stdout
    assert "no-such-program" in done.stdout
