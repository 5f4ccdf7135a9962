"""The demonstration: four figures and exit 0 for everyone, and nothing left behind, however it ends."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.demo.people import (
    Somebody,
    copy_of_checkout,
    interrupt,
    path_without_postgresql,
    somebody,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_DEMO = (sys.executable, "examples/order_fulfillment/demo.py")
_PATIENCE = 240


@pytest.fixture
def me() -> Iterator[Somebody]:
    with somebody() as person:
        yield person


@pytest.fixture
def plain_user() -> Iterator[Somebody]:
    """Nobody, if this is root; else this user, who is plain enough."""
    with somebody("nobody" if os.geteuid() == 0 else None) as person:
        yield person


def _environment(**more: str) -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ} | more


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    try:
        return process.communicate(timeout=_PATIENCE)
    except subprocess.TimeoutExpired:
        interrupt(process)
        process.communicate()
        raise


def _assert_charged_once(process: subprocess.Popen[str]) -> None:
    out, err = _end(process)
    assert process.returncode == 0, out + err
    assert re.search(r"^ +16 of 16  paid orders charged exactly once$", out, re.MULTILINE), out
    assert re.search(r"^ +0  charges to the 4 declined cards$", out, re.MULTILINE), out
    recorded = re.search(r"^ +0  calls for the (\d+) payments recorded before the kill$", out, re.MULTILINE)
    assert recorded, out
    assert int(recorded[1]) >= 10
    assert re.search(r"^ +[1-9]\d*  repeated calls, refused by their idempotency key$", out, re.MULTILINE), (
        out
    )
    assert "Every card was charged exactly once" in out


def _assert_nothing_is_left(person: Somebody) -> None:
    assert person.processes() == []
    assert list(person.scratch.iterdir()) == []


def test_every_card_is_charged_once_although_the_worker_is_killed(me: Somebody) -> None:
    _assert_charged_once(me.start(_DEMO, _environment()))
    _assert_nothing_is_left(me)


@pytest.mark.needs("make")
def test_it_runs_for_a_plain_user_without_a_home_and_without_postgresql(plain_user: Somebody) -> None:
    copy = copy_of_checkout(plain_user)
    path = path_without_postgresql(plain_user)
    _assert_charged_once(
        plain_user.start(
            ("make", "demo"), {"PATH": path, "HOME": "", "PYTHONDONTWRITEBYTECODE": "1"}, cwd=copy
        )
    )
    _assert_nothing_is_left(plain_user)


def test_ctrl_c_ends_all_processes_and_removes_the_database(me: Somebody) -> None:
    process = me.start(_DEMO, _environment())
    assert process.stdout is not None
    for line in process.stdout:
        if "orders come in" in line:
            break
    assert len(me.processes()) > 4
    interrupt(process)
    _, err = _end(process)
    assert process.returncode == 130, err
    _assert_nothing_is_left(me)


def test_a_database_out_of_reach_is_told_in_one_line_without_its_password(me: Somebody) -> None:
    url = "postgresql://zart:hidden-word@127.0.0.1:1/zart"
    process = me.start(_DEMO, _environment(ZART_DATABASE_URL=url))
    out, err = _end(process)
    assert process.returncode == 1
    assert (
        "The demonstration failed: zart migrate: exit status 6: zart: the database cannot be reached" in err
    )
    assert "hidden-word" not in out + err
    assert me.processes() == []


def test_what_a_child_said_before_it_failed_is_shown(
    me: Somebody, tmp_path: Path, empty_database_url: str
) -> None:
    # A module that shadows uvicorn: the API cannot start.
    (tmp_path / "uvicorn.py").write_text('raise SystemExit("no API today")\n')
    environment = _environment(ZART_DATABASE_URL=empty_database_url, PYTHONPATH=str(tmp_path))
    process = me.start(_DEMO, environment)
    _, err = _end(process)
    assert process.returncode == 1
    assert "--- API.log\nno API today" in err
    assert "The demonstration failed: the API ended (exit status 1) before its address" in err
    assert me.processes() == []
