"""Core's own tests pass on every Python, and a run may change from one to the other at any record.

This is the fast form; `make test-pythons` runs all of core's tests there.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from tests.pythons.interpreters import OTHERS, PAIRS, run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CORE = (
    "packages/zart-core/tests",
    "packages/zart-decorators/tests",
    "tests/engine",
    "tests/properties",
    "--ignore=tests/engine/test_scale.py",
)


@pytest.mark.parametrize("version", OTHERS)
def test_cores_tests_pass(version: str) -> None:
    options = ("-q", "-n", "0", "-p", "no:cacheprovider")
    said = run(version, "-m", "pytest", *options, *CORE, ZART_FUZZ_PROGRAMS="24")
    assert " passed" in said.splitlines()[-1]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Give the journals that a Python has written."""
    directory = tmp_path_factory.mktemp("journals")

    @cache
    def write(version: str) -> Path:
        run(version, "-m", "tests.pythons.journals", "write", directory / version)
        return directory / version

    return write


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_l5_a_journal_that_one_python_wrote_is_continued_by_another(
    one: str, other: str, written: Callable[[str], Path]
) -> None:
    run(other, "-m", "tests.pythons.journals", "read", written(one))
