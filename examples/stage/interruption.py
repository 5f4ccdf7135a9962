"""Ctrl-C: an example cleans up, once."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from examples.stage.failure import Interrupted

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Turn the first signal that ends a program into `Interrupted`; what follows is cleaning up, and goes on."""

    def interrupt(signum: int, _frame: FrameType | None) -> None:
        be_deaf()
        raise Interrupted(signum)

    before = {number: signal.signal(number, interrupt) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def be_deaf() -> None:
    """Hear no signal any more."""
    # Not SIG_IGN, which the processes started while cleaning up would inherit.
    for number in _SIGNALS:
        signal.signal(number, lambda _signum, _frame: None)
