"""Each example runs, checks what it shows, and leaves nothing behind."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from tests.demo.people import ROOT, somebody

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

OWN_SERVER = "sleep"
"""The one that starts a PostgreSQL of its own here, as each does for people; the others spare the time."""

SHOWN = {
    "sleep": [r"is sleeping until", r"\$ kill -9 \d+", r"ok: it woke in time"],
    "retry-simulation": [
        r"'tea costs 30', in these attempts:\n  1\. .*ServiceDown.*\n  2\. .*ServiceDown.*\n  3\. .*the price came",
        r"  4\. .*503.*\n\n  ok: two failures and a success",
    ],
    "parallel-steps": [r"\n  \.3 +calibrate +completed", r"\n  - +inspect +cancelled"],
    "durable-loops": [r"\$ kill -9 \d+", r"the sum is 328350", r"ok: no recorded item was done again"],
    "error-handling": [r"ask-the-warehouse +timed_out", r"\$ kill -9 \d+", r"ok: and ran no step again"],
    "approval": [
        r"\$ zart events send",
        r"  Ada gets 120, Grace said yes\n  Grace said no\n  nobody decided about Eve",
    ],
    "transactions": [r"\$ kill -9 \d+", r"ok: every coin was moved exactly once"],
    "brewery-finder": [r"  4\.4  Brewery No\. 81\n  4\.1  Brewery No\. 63", r"tried again: page-2, rate-b0"],
}
"""What each must show, beyond exiting with 0."""


@pytest.mark.parametrize("name", SHOWN)
def test_it_shows_what_it_promises_and_leaves_nothing(name: str, request: pytest.FixtureRequest) -> None:
    environment = {key: os.environ[key] for key in ("PATH", "HOME") if key in os.environ}
    if name != OWN_SERVER:
        environment["EXAMPLE_DATABASE_URL"] = request.getfixturevalue("empty_database_url")
    with somebody() as me:
        process = me.start(["make", f"example-{name}"], environment)
        out, err = process.communicate(timeout=240)
        assert process.returncode == 0, out + err
        for shown in SHOWN[name]:
            assert re.search(shown, out), out
        assert me.processes() == []
        assert list(me.scratch.iterdir()) == []


def test_all_are_tried_and_listed_with_their_command() -> None:
    found = {main.parent.name for main in (ROOT / "examples").glob("*/main.py")}
    assert {name.replace("-", "_") for name in SHOWN} == found
    listed = (ROOT / "examples" / "README.md").read_text()
    for name in SHOWN:
        assert f"| [{name}]({name.replace('-', '_')}/README.md) |" in listed
        assert f"| `make example-{name}` |" in listed


def test_a_surprise_makes_the_exit_status_1(tmp_path: Path) -> None:
    program = tmp_path / "main.py"
    program.write_text(
        "import sys\nfrom examples.stage import play\n"
        "sys.exit(play(lambda stage: stage.check('the earth is flat', holds=False)))\n"
    )
    with somebody() as me:
        environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
        done: subprocess.Popen[str] = me.start([ROOT / ".venv" / "bin" / "python", program], environment)
        _, err = done.communicate(timeout=240)
        assert done.returncode == 1
        assert "The example failed: this is not so: the earth is flat" in err
        assert me.processes() == []
