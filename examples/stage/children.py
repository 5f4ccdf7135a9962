"""The processes that an example starts, all of which end with it."""

from __future__ import annotations

import os
import shlex
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from examples.stage.failure import DemoFailed

T = TypeVar("T")

ROOT = Path(__file__).parents[2]
_POLL = 0.05
_GRACE = 5.0
_PATIENCE = 60.0


@dataclass(frozen=True, slots=True)
class Child:
    """A process that goes on by itself; what it says goes to `log`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, look: Callable[[], T | None], what: str) -> T:
        """Return what `look` finds as soon as it finds something.

        Raises:
            DemoFailed: The process ended, or 60 s passed.
        """
        deadline = time.monotonic() + _PATIENCE
        while (found := look()) is None:
            if self.process.poll() is not None:
                raise DemoFailed(f"the {self.name} ended ({ending(self.process.returncode)}) before {what}")
            if time.monotonic() > deadline:
                raise DemoFailed(f"the {self.name} took more than {_PATIENCE:.0f} s: {what} did not come")
            time.sleep(_POLL)
        return found


class Children:
    """Starts processes and, when closed, ends those that still live, by their pids.

    Each has a session of its own, so that Ctrl-C reaches the example only, which then ends them in good order.
    """

    def __init__(self, environment: Mapping[str, str], logs: Path) -> None:
        self.logs = logs
        self._environment = dict(environment)
        self._living: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._closed = False

    def start(self, name: str, command: Sequence[str | Path], **environment: str) -> Child:
        """Start a process that goes on by itself."""
        log = self.logs / f"{name.replace(' ', '-')}.log"
        with log.open("ab") as output:
            return Child(name, self._spawn(command, environment, output.fileno(), output.fileno()), log)

    def run(self, command: Sequence[str | Path]) -> str:
        """Run a process to its end and return what it printed.

        Raises:
            DemoFailed: It did not exit with 0.
        """
        process = self._spawn(command, {}, subprocess.PIPE, subprocess.PIPE)
        try:
            out, err = process.communicate(timeout=_PATIENCE)
        except subprocess.TimeoutExpired:
            raise DemoFailed(f"{show(command)} took more than {_PATIENCE:.0f} s") from None
        with self._lock:
            self._living.remove(process)
        if process.returncode != 0:
            said = err.decode(errors="replace").strip() or "it said nothing"
            raise DemoFailed(f"{show(command)}: {ending(process.returncode)}: {said}")
        return out.decode()

    def close(self) -> None:
        """End all processes: asked first, killed if they take more than 5 s."""
        with self._lock:
            self._closed = True
            living = [process for process in self._living if process.poll() is None]
        for process in living:
            with suppress(ProcessLookupError):
                process.terminate()
        deadline = time.monotonic() + _GRACE
        for process in living:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _spawn(
        self, command: Sequence[str | Path], environment: Mapping[str, str], out: int, err: int
    ) -> subprocess.Popen[bytes]:
        # A thread must not start one more while `close` goes through them.
        with self._lock:
            if self._closed:
                raise DemoFailed("the example is ending")
            try:
                process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    cwd=ROOT,
                    env={**self._environment, **environment},
                    start_new_session=True,
                )
            except OSError as error:
                raise DemoFailed(f"{show(command)} cannot be started: {error.strerror}") from None
            self._living.append(process)
            return process


def clean_environment(database_url: str) -> dict[str, str]:
    """Return an environment in which Zart's own settings are the example's, not the caller's."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name == "ZART_SCHEMA" or not name.startswith(("ZART_", "ORDER_"))
    }
    if kept.pop("PYTHONDONTWRITEBYTECODE", None):  # else each process would compile all that it imports
        kept["PYTHONPYCACHEPREFIX"] = str(ROOT / ".tools" / "bytecode")
    return kept | {"ZART_DATABASE_URL": database_url, "PYTHONUNBUFFERED": "1", "NO_COLOR": "1"}


def ending(returncode: int) -> str:
    """Return how a process ended, for people."""
    return f"killed by signal {-returncode}" if returncode < 0 else f"exit status {returncode}"


def show(command: Sequence[str | Path]) -> str:
    """Return the command as a person would type it."""
    words = [str(word) for word in command]
    return shlex.join(["zart", *words[3:]] if words[1:3] == ["-m", "zart_cli"] else words)
