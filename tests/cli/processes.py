"""The command as a process of its own, for what has to do with signals, pipes and files."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

COMMAND = (sys.executable, "-m", "zart_cli")
PATIENCE = 60.0


def environment(**changes: str | None) -> dict[str, str]:
    """Return this process's environment without what would choose a database, and with `changes`."""
    own = {
        name: value for name, value in os.environ.items() if not name.startswith(("ZART_", "DATABASE_URL"))
    }
    return {**own, **{name: value for name, value in changes.items() if value is not None}}


def finished(*words: str, cwd: Path, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command to its end."""
    return subprocess.run(
        [*COMMAND, *words], cwd=cwd, env=env, capture_output=True, text=True, timeout=PATIENCE, check=False
    )


class Running:
    """A command that goes on; what it writes is in `log`."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process, self._log = process, log

    @property
    def log(self) -> str:
        """What the command has written to stdout and stderr so far."""
        return self._log.read_text()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        """Wait for a condition, as long as the command lives."""
        deadline = time.monotonic() + PATIENCE
        while not condition():
            assert self.process.poll() is None, f"it ended before {what}:\n{self.log}"
            assert time.monotonic() < deadline, f"no {what} in time:\n{self.log}"
            time.sleep(0.05)

    def until_said(self, text: str, times: int = 1) -> None:
        """Wait until the command has written `text`."""
        self.until(lambda: self.log.count(text) >= times, f"{text!r}")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(number)
        return self.process.wait(PATIENCE)


@contextmanager
def running(*words: str, cwd: Path, env: Mapping[str, str]) -> Iterator[Running]:
    """Start the command; it is killed if it still lives at the end."""
    log = cwd / "command.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*COMMAND, *words], cwd=cwd, env=env, stdout=out, stderr=out, stdin=subprocess.DEVNULL
        )
    try:
        yield Running(process, log)
    finally:
        process.kill()
        process.wait()


@contextmanager
def closed_port() -> Iterator[int]:
    """Give a port of this machine on which nobody answers, kept from others meanwhile."""
    with socket.socket() as keeper:
        keeper.bind(("127.0.0.1", 0))
        yield keeper.getsockname()[1]
