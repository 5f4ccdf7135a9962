"""Where a test may kill the process, and where nothing happens."""

from __future__ import annotations

import subprocess
import sys
from contextvars import copy_context

import pytest

from zart_core import crashpoints
from zart_core.crashpoints import Trap, armed, reach, watcher


@pytest.mark.parametrize(
    ("text", "trap"),
    [
        ("after-claim", Trap("after-claim", None, 1)),
        ("after-commit:charge", Trap("after-commit", "charge", 1)),
        ("after-commit:charge#3", Trap("after-commit", "charge", 3)),
        ("before-park:#2", Trap("before-park", None, 2)),
    ],
)
def test_a_trap_names_point_step_and_visit(text: str, trap: Trap) -> None:
    assert Trap.parse(text) == trap


def test_a_trap_springs_at_the_visit_it_names() -> None:
    trap = Trap("after-commit", "charge", 2)
    visits = [
        ("before-commit", "charge"),
        ("after-commit", "charge"),
        ("after-commit", "ship"),
        ("after-commit", "charge"),
    ]
    assert [trap.springs(*visit) for visit in visits] == [False, False, False, True]
    assert Trap("after-commit", None, 1).springs("after-commit", "anything")


def test_it_is_armed_in_tests_only() -> None:
    assert armed({"ZART_CRASH_AT": "after-claim"}) is None
    assert armed({"ZART_TESTING": "1"}) is None
    assert armed({"ZART_CRASH_AT": "after-claim", "ZART_TESTING": "0"}) is None
    assert armed({"ZART_CRASH_AT": "after-claim", "ZART_TESTING": "1"}) == Trap("after-claim", None, 1)


def test_an_unarmed_point_does_nothing() -> None:
    reach("after-claim")


def test_a_point_that_is_not_meant_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crashpoints, "_trap", Trap("after-claim", None, 1))
    reach("before-claim")


def test_a_watcher_is_told_of_what_its_own_code_reaches() -> None:
    met: list[tuple[str, str | None]] = []
    context = copy_context()
    context.run(watcher.set, lambda point, step: met.append((point, step)))
    context.run(reach, "before-step", "charge")
    reach("after-effect", "charge")
    assert met == [("before-step", "charge")]


def test_an_armed_point_kills_the_process_at_once() -> None:
    code = (
        "from zart_core.crashpoints import reach\n"
        "try:\n reach('after-effect', 'charge'); print('alive', flush=True); reach('after-effect', 'charge')\n"
        "finally:\n print('never')"
    )
    environment = {"ZART_CRASH_AT": "after-effect:charge#2", "ZART_TESTING": "1"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (-9, "alive\n")
