"""Run the demonstration; exit 0 if every card was charged exactly once, 1 if not or if something failed."""

from __future__ import annotations

import os
import sys

from examples.order_fulfillment.demonstration.evidence import Verdict, judge
from examples.order_fulfillment.demonstration.figures import figures
from examples.order_fulfillment.demonstration.story import Story
from examples.stage.children import Children, clean_environment
from examples.stage.failure import DemoFailed, Interrupted
from examples.stage.interruption import be_deaf, interruptible
from examples.stage.place import Place, place
from examples.stage.screen import Screen, choose_screen
from zart_core import ZartError


def main() -> int:
    """Run it and return the exit status."""
    screen = choose_screen()
    try:
        with interruptible(), place(screen, os.environ.get("ZART_DATABASE_URL")) as here:
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
        here.show_logs()
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


def _close(children: Children) -> None:
    """End all processes, undisturbed by an impatient Ctrl-C."""
    be_deaf()
    children.close()


if __name__ == "__main__":
    sys.exit(main())
