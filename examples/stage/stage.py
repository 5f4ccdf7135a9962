"""One example: its database, its workers, and what it shows."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from examples.stage.children import ROOT, Child, Children, clean_environment, show
from examples.stage.failure import DemoFailed, Interrupted
from examples.stage.interruption import be_deaf, interruptible
from examples.stage.place import Place, place
from examples.stage.screen import Screen, choose_screen
from zart_core import ZartError
from zart_scheduler import SyncClient, migrate

T = TypeVar("T")

ZART = (sys.executable, "-m", "zart_cli")
LEASE = "1s"
"""How long a killed worker's runs wait for it. Short, as nobody likes to wait in an example; the default is 15 s."""
DATABASE = "EXAMPLE_DATABASE_URL"
"""The environment variable that names another database; without it an example has a PostgreSQL of its own."""

_POLL = 0.02
_PATIENCE = 60.0


class Stage:
    """What an example plays on. All of its processes end with it."""

    def __init__(self, here: Place, children: Children, client: SyncClient, screen: Screen) -> None:
        self.client, self.directory = client, here.directory
        self._children, self._screen = children, screen
        self._workers = 0

    def say(self, text: str = "") -> None:
        """Show a line."""
        self._screen.write(text)

    def start_worker(self, file: Path) -> Child:
        """Run `zart worker FILE` and wait until it is ready."""
        self._workers += 1
        words = ["worker", str(file.relative_to(ROOT)), "--lease", LEASE]
        ready = self.directory / f"worker-{self._workers}.ready"
        worker = self._children.start(f"worker {self._workers}", [*ZART, *words, "--ready-file", ready])
        worker.wait_for(lambda: ready.exists() or None, "it was ready")
        self.say(f"$ zart {' '.join(words)}    # worker {self._workers}, process {worker.process.pid}")
        return worker

    def kill(self, worker: Child) -> None:
        """Kill a worker: it gets no chance to do anything about it."""
        worker.process.send_signal(signal.SIGKILL)
        worker.process.wait()
        self.say(f"$ kill -9 {worker.process.pid}    # {worker.name} is dead")

    def zart(self, *words: str) -> str:
        """Run `zart WORDS` and return what it printed."""
        command = [*ZART, *words]
        self.say(f"$ {show(command)}")
        return self._children.run(command)

    def wait_for(self, look: Callable[[], T | None], what: str) -> T:
        """Return what `look` finds, as soon as it finds something other than None and False."""
        deadline = time.monotonic() + _PATIENCE
        while not (found := look()):
            if time.monotonic() > deadline:
                raise DemoFailed(f"waited {_PATIENCE:.0f} s in vain: {what}")
            time.sleep(_POLL)
        return found

    def check(self, what: str, *, holds: bool) -> None:
        """Show what is so; the example has failed if it is not."""
        if not holds:
            raise DemoFailed(f"this is not so: {what}")
        self.say(f"  ok: {what}")


def play(example: Callable[[Stage], None]) -> int:
    """Run an example and return the exit status: 0 if all went as it says, 1 if anything did not."""
    screen = choose_screen()
    try:
        with interruptible(), place(screen, os.environ.get(DATABASE)) as here:
            _perform(example, here, screen)
    except DemoFailed as error:
        print(f"\nThe example failed: {error}", file=sys.stderr)
        return 1
    except Interrupted as error:
        print("\nInterrupted: all processes are stopped, nothing is left behind.", file=sys.stderr)
        return 128 + error.signum
    screen.write(f"That took {screen.elapsed:.0f} s.")
    return 0


def _perform(example: Callable[[Stage], None], here: Place, screen: Screen) -> None:
    children = Children(clean_environment(here.database_url), here.logs)
    try:
        migrate(here.database_url)
        with SyncClient(here.database_url) as client:
            example(Stage(here, children, client, screen))
    except (DemoFailed, ZartError) as error:
        be_deaf()
        children.close()
        here.show_logs()
        raise DemoFailed(f"{error}\nLogs are in {here.directory}") from error
    finally:
        be_deaf()
        children.close()
