"""Run the demonstration; exit 0 if every card was charged exactly once, 1 if not or if something failed."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from examples.order_fulfillment.demonstration.children import Children, clean_environment
from examples.order_fulfillment.demonstration.evidence import Verdict, judge
from examples.order_fulfillment.demonstration.failure import DemoFailed, Interrupted
from examples.order_fulfillment.demonstration.place import Place, place
from examples.order_fulfillment.demonstration.screen import Screen, choose_screen, figures
from examples.order_fulfillment.demonstration.story import Story
from zart_core import ZartError

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_LOG_LINES = 30


def main() -> int:
    """Run it and return the exit status."""
    screen = choose_screen()
    try:
        with _interruptible(), place(screen) as here:
            return _run(here, screen)
    except DemoFailed as error:
        print(f"\nThe demonstration failed: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as in `make demo | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Interrupted as error:
        print("\nInterrupted: all processes are stopped, nothing is left behind.", file=sys.stderr)
        return 128 + error.signum


def _run(here: Place, screen: Screen) -> int:
    children = Children(clean_environment(here.database_url), here.logs)
    try:
        verdict = judge(Story(here, children, screen).perform())
        _conclude(verdict, screen)
    except (DemoFailed, ZartError) as error:
        _close(children)
        _show_logs(here.logs)
        raise DemoFailed(f"{error}\nLogs and ledger are in {here.directory}") from error
    finally:
        _close(children)
    return 0


def _conclude(verdict: Verdict, screen: Screen) -> None:
    screen.write()
    for line in figures(verdict):
        screen.write(line)
    screen.write()
    if verdict.violations:
        raise DemoFailed("\n  - ".join(["this must never happen:", *verdict.violations]))
    screen.write("Every card was charged exactly once, although the worker was killed.")
    screen.write(f"That took {screen.elapsed:.0f} s. How it works: examples/order_fulfillment/README.md")


def _show_logs(logs: Path) -> None:
    for log in sorted(logs.iterdir()):
        lines = log.read_text(errors="replace").splitlines()[-_LOG_LINES:]
        print(f"\n--- {log.name}", *(lines or ["(empty)"]), sep="\n", file=sys.stderr)


def _close(children: Children) -> None:
    """End all processes, undisturbed by an impatient Ctrl-C."""
    _be_deaf()
    children.close()


@contextmanager
def _interruptible() -> Iterator[None]:
    """Turn the first signal that ends a program into `Interrupted`; what follows is cleaning up, and goes on."""

    def interrupt(signum: int, _frame: FrameType | None) -> None:
        _be_deaf()
        raise Interrupted(signum)

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _be_deaf() -> None:
    # Not SIG_IGN, which the processes started while cleaning up would inherit.
    for number in _SIGNALS:
        signal.signal(number, lambda _signum, _frame: None)


if __name__ == "__main__":
    sys.exit(main())
