"""Signals that end a body from outside. None is an `Exception`: user code must not catch them (L7)."""

from __future__ import annotations


class Signal(BaseException):
    """A body that meets one is over: nothing it does or returns afterwards counts."""


class Suspend(Signal):
    """The body leaves memory; its run waits in the database."""


class LeaseLost(Signal):
    """Another worker owns the run now, or this one must assume so."""


class RunCancelled(Signal):
    """Somebody cancelled the execution. A body may clean up; nothing it does is recorded."""


class DeadlinePassed(Signal):
    """The workflow's timeout passed while the body was in memory."""


class ContinueAsNew(Signal):
    """The body has asked to be followed by a new run with another input."""


class RunBlocked(Signal):
    """The records do not fit the code, or cannot be read; a person has to look."""
